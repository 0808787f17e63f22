"""Methods whose settings are a record of their own: a `flax.struct` class whose fields are options.

What those have in common that begin with noise is `Record`: a level, and that the class says which method it is of.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.levels import sigma_of_depth
from code_jax.editing.methods import Method, find
from code_jax.editing.options import OPTIONS
from code_jax.editing.settings import shortest
from code_jax.errors import UserError


class Record(flax.struct.PyTreeNode):
    """Settings of a method that begins with noise of a level, σ or the share of the timesteps; None of both is `LEVEL`."""

    NAME: ClassVar[str]
    LEVEL: ClassVar[float] = 68.0  # σ of timestep 900 on DDPM's schedule

    sigma: Any = None
    depth: Any = None

    def __post_init__(self) -> None:
        check_record(self)

    @property
    def method(self) -> Method:
        """The one of its `NAME`."""
        return find(self.NAME)

    @property
    def dynamic_threshold(self) -> None:
        """It has none."""


def check_record(settings: Any) -> None:
    """Raises UserError, which names the value, for one out of its option's range; a transformation's stand-ins pass."""
    for name, value in _given(settings):
        concrete = isinstance(value, (int, float, str, np.ndarray, jax.Array)) and not isinstance(value, jax.core.Tracer)
        if concrete:
            OPTIONS[name].check(value)
    if settings.sigma is not None and settings.depth is not None:
        raise UserError("sigma and depth are both given; they state the same, so give one of them")


def canonical_record(settings: Any, denoiser: Denoiser) -> Any:
    """Every number as a float array, the level as σ, by default the record's `LEVEL`.

    Raises:
        UserError: names the value that is out of its range.
    """
    check_record(settings)
    if settings.depth is not None:
        sigma = sigma_of_depth(denoiser, jnp.asarray(settings.depth, float))
    else:
        sigma = jnp.asarray(settings.LEVEL if settings.sigma is None else settings.sigma, float)
    low, high = denoiser.sigma_range
    if not any(isinstance(each, jax.core.Tracer) for each in (sigma, low, high)) and not low < sigma <= high * (1 + 1e-6):
        raise UserError(f"sigma is {float(sigma):.4g}; this prior's levels are from {float(low):.3g} to {float(high):.4g}")
    return jax.tree.map(lambda number: jnp.asarray(number, float), settings.replace(sigma=sigma, depth=None))


def record_method(kind: type[Record], about: str, **rest: Any) -> Method:
    """A method whose settings are of this class, whose defaults are those of its publication."""
    options = tuple(field.name for field in dataclasses.fields(kind))
    return Method(kind.NAME, about, options, lambda values: _configured(kind, values), _described, canonical_record, **rest)


def _configured(kind: type, values: Any) -> Any:
    settings = kind(**{name: None if value == math.inf else _one(name, value) for name, value in values.items()})
    check_record(settings)
    return settings


def _one(name: str, value: Any) -> Any:
    """A level by itself, of a list of one."""
    if isinstance(value, list) and len(value) != 1:
        raise UserError(f"{name} is {value}; this method takes one")
    return value[0] if isinstance(value, list) else value


def _given(settings: Any) -> list[tuple[str, Any]]:
    values = [(field.name, getattr(settings, field.name)) for field in dataclasses.fields(settings)]
    return [(name, value) for name, value in values if value is not None]


def _described(settings: Any) -> dict[str, Any]:
    return {name: value if OPTIONS[name].kinds or OPTIONS[name].whole else shortest(value) for name, value in _given(settings)}
