"""Values in words that fit a screen: what the reprs of settings and results are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

_SPELT_OUT = 8  # values


def in_words(kind: str, values: Mapping[str, Any]) -> str:
    """The repr of a value of a kind by its fields.

    Example:
        >>> in_words("Info", {"nfe": np.array([24, 24]), "image": np.zeros((8, 8))})
        'Info(nfe=[24, 24], image=float64[8, 8] from 0 to 0)'
    """
    return f"{kind}({', '.join(f'{name}={said(value)}' for name, value in values.items())})"


def said(value: Any) -> str:
    """A few numbers as they are, many by dtype, shape and range; everything else by its repr."""
    if isinstance(value, jax.core.Tracer) or not isinstance(value, (np.ndarray, np.generic, jax.Array)):
        return repr(value)
    shape = ", ".join(map(str, value.shape))
    if jax.dtypes.issubdtype(value.dtype, jax.dtypes.extended) or not value.size:
        return f"{value.dtype}[{shape}]"
    array = np.asarray(value)
    if array.size <= _SPELT_OUT:
        return str(_shortest(array.tolist()))
    if array.dtype == bool:
        return f"bool[{shape}], {np.mean(array):.1%} true"
    return f"{array.dtype}[{shape}] from {np.min(array):.4g} to {np.max(array):.4g}"


def _shortest(value: Any) -> Any:
    """Numbers to six digits, within lists."""
    if isinstance(value, list):
        return [_shortest(each) for each in value]
    return float(f"{value:.6g}") if isinstance(value, float) and math.isfinite(value) else value
