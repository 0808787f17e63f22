"""Structural similarity (Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity")."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from code_jax.metrics.images import check_pair
from code_jax.shapes import GivenImages, Images, PerImage

_SIZE, _SIGMA = 11, 1.5  # the paper's window, in pixels
_C1, _C2 = 0.01**2, 0.03**2  # (K·L)² with K1 = 0.01, K2 = 0.03 on intensities in [0, 1], so L = 1
_TAPS = np.exp(-(((np.arange(_SIZE) - _SIZE // 2) / _SIGMA) ** 2) / 2)


def ssim(a: GivenImages, b: GivenImages) -> PerImage:
    """Mean structural similarity over pixels and channels, in 11×11 Gaussian windows with σ = 1.5 (equations 13 and 17).

    (2μ_aμ_b + C1)(2σ_ab + C2) / ((μ_a² + μ_b² + C1)(σ_a² + σ_b² + C2)) of the intensities (x + 1)/2 in [0, 1], since the means
    are compared with black. Edges are reflected, so that every pixel has a window: what torchmetrics 1.9 computes by default at
    ``data_range=1``.

    Args:
        a, b: floating [B, H, W, C] in [−1, 1], 6×6 at least.

    Returns:
        float32 [B], at most 1.

    Raises:
        UserError: for another dtype, shape or range.

    Example:
        >>> ssim(jnp.zeros((1, 16, 16, 3)), jnp.zeros((1, 16, 16, 3))).tolist()
        [1.0]
    """
    return _ssim(*check_pair(a, b, smallest=_SIZE // 2 + 1))


@jax.jit
def _ssim(a: Images, b: Images) -> PerImage:
    centre_a, centre_b = (jnp.mean(x / 2, axis=(1, 2), keepdims=True) for x in (a, b))
    a, b = a / 2 - centre_a, b / 2 - centre_b  # variances care for no shift, and lose the fewest digits around 0
    mean_a, mean_b, aa, bb, ab = _windows(jnp.stack([a, b, a * a, b * b, a * b]))
    variances = jnp.maximum(aa - mean_a**2, 0) + jnp.maximum(bb - mean_b**2, 0)
    covariance = ab - mean_a * mean_b
    mean_a, mean_b = mean_a + (centre_a + 0.5), mean_b + (centre_b + 0.5)
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    structure = (2 * covariance + _C2) / (variances + _C2)
    return jnp.mean(luminance * structure, axis=(1, 2, 3))


def _windows(x: Float[Array, "*images height width channels"]) -> Float[Array, "*images height width channels"]:
    """Gaussian means over the window around each pixel of [..., H, W, C]."""
    for axis in (-3, -2):
        sides = [(_SIZE // 2, _SIZE // 2) if i == axis % x.ndim else (0, 0) for i in range(x.ndim)]
        padded, length = jnp.pad(x, sides, mode="reflect"), x.shape[axis]
        slices = (jax.lax.slice_in_dim(padded, i, i + length, axis=axis) for i in range(_SIZE))
        x = sum(float(tap) * part for tap, part in zip(_TAPS / _TAPS.sum(), slices, strict=True))  # type: ignore[assignment]
    return x
