"""Structural similarity (Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity")."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from code_jax.metrics.images import check_pair

_SIZE, _SIGMA = 11, 1.5  # the paper's window, in pixels
_C1, _C2 = 0.01**2, 0.03**2  # (K·L)² with K1 = 0.01, K2 = 0.03 on intensities in [0, 1], so L = 1
_TAPS = np.exp(-(((np.arange(_SIZE) - _SIZE // 2) / _SIGMA) ** 2) / 2)


def ssim(a: Any, b: Any) -> jax.Array:
    """Mean structural similarity over all whole 11×11 Gaussian windows (σ = 1.5) and channels (equations 13 and 17).

    (2μ_aμ_b + C1)(2σ_ab + C2) / ((μ_a² + μ_b² + C1)(σ_a² + σ_b² + C2)) of the intensities (x + 1)/2 in [0, 1], since the means
    are compared with black. What torchmetrics computes by default at ``data_range=1``.

    Args:
        a, b: floating [B, H, W, C] in [−1, 1], 11×11 at least.

    Returns:
        float32 [B], at most 1.

    Raises:
        UserError: for another dtype, shape or range.

    Example:
        >>> ssim(jnp.zeros((1, 16, 16, 3)), jnp.zeros((1, 16, 16, 3))).tolist()
        [1.0]
    """
    return _ssim(*check_pair(a, b, smallest=_SIZE))


@jax.jit
def _ssim(a: jax.Array, b: jax.Array) -> jax.Array:
    a, b = a / 2, b / 2  # variances care for no shift, and lose the fewest digits around 0
    mean_a, mean_b, aa, bb, ab = _windows(jnp.stack([a, b, a * a, b * b, a * b]))
    variances = jnp.maximum(aa - mean_a**2, 0) + jnp.maximum(bb - mean_b**2, 0)
    covariance = ab - mean_a * mean_b
    mean_a, mean_b = mean_a + 0.5, mean_b + 0.5
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    structure = (2 * covariance + _C2) / (variances + _C2)
    return jnp.mean(luminance * structure, axis=(1, 2, 3))


def _windows(x: jax.Array) -> jax.Array:
    """Gaussian means over the windows that lie inside: [..., H, W, C] to [..., H − 10, W − 10, C]."""
    for axis in (-3, -2):
        width = x.shape[axis] - _SIZE + 1
        slices = (jax.lax.slice_in_dim(x, i, i + width, axis=axis) for i in range(_SIZE))
        x = sum(float(tap) * part for tap, part in zip(_TAPS / _TAPS.sum(), slices, strict=True))  # type: ignore[assignment]
    return x
