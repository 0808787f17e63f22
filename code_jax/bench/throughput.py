"""The network's arithmetic a second by batch size, beside the device's peak, and the published edits a second at that rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from code_jax.bench.measure import Row, in_turn, network_task, spread
from code_jax.priors.prior import Prior

PUBLISHED_NFE = 902
_CALLS = 4

# Dense bfloat16 FLOP a second of one device as JAX counts devices, by a part of its name: the makers' data sheets.
_PEAKS = {
    "H200": 989e12, "H100": 989e12, "A100": 312e12, "L4": 121e12, "T4": 65e12, "V100": 125e12,
    "TPU v2": 23e12, "TPU v3": 61e12, "TPU v4": 275e12, "TPU v5 lite": 197e12, "TPU v5": 459e12, "TPU v6 lite": 918e12,
}  # fmt: skip


def throughput(prior: Prior, batches: Sequence[int], runs: int) -> list[Row]:
    """Two rows a batch size: the share of the devices' peak (FLOP a second of one where none is known), and images a second."""
    peak = next((value for name, value in _PEAKS.items() if name in jax.devices()[0].device_kind), None)
    rows = []
    for batch in batches:
        (seconds,) = in_turn([network_task(prior, prior.image_shape, batch, _CALLS)], runs)
        each, devices = np.array(seconds) / _CALLS, len(spread(prior, batch)[1].mesh.devices)
        speed = flops(prior, batch) / devices / each
        if peak is None:
            what, shown = "TFLOP a second", speed / 1e12
        else:
            what, shown = "share of the peak in bfloat16", speed / peak
        rows += [
            _row(f"network, batch {batch}: {what}", shown),
            _row(f"edit of {PUBLISHED_NFE} evaluations, batch {batch}: images a second", batch / (each * PUBLISHED_NFE)),
        ]
    return rows


def flops(prior: Prior, batch: int) -> float:
    """Multiplications and additions of an evaluation of a batch, as the program states them before the compiler's changes."""
    images = jnp.zeros((batch, *prior.image_shape))
    analysis: Any = jax.jit(Prior.eps_at).lower(prior, images, jnp.ones(())).cost_analysis()
    return float(analysis["flops"])


def _row(what: str, values: np.ndarray) -> Row:
    return Row(what, f"{np.median(values):.3g}", f"{values.min():.3g} to {values.max():.3g}")
