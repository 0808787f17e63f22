"""Distances of pixels: the root-mean-square difference, and the peak signal-to-noise ratio."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from code_jax.metrics.images import check_pair
from code_jax.shapes import GivenImages, Images, PerImage


def l2(a: GivenImages, b: GivenImages) -> PerImage:
    """‖a − b‖₂/√(HWC), the root-mean-square difference, which does not grow with the size.

    Args:
        a, b: floating [B, H, W, C] in [−1, 1].

    Returns:
        float32 [B], from 0 to 2.

    Raises:
        UserError: for another dtype, shape or range.

    Example:
        >>> l2(jnp.zeros((1, 8, 8, 3)), jnp.full((1, 8, 8, 3), 0.5)).tolist()
        [0.5]
    """
    return jnp.sqrt(_mean_square(*check_pair(a, b)))


def psnr(a: GivenImages, b: GivenImages) -> PerImage:
    """Peak signal-to-noise ratio 10·log10(2²/mean((a − b)²)); the peak is the range's width, 2.

    Args:
        a, b: floating [B, H, W, C] in [−1, 1].

    Returns:
        float32 [B], in dB; infinity for equal images.

    Raises:
        UserError: for another dtype, shape or range.

    Example:
        >>> round(float(psnr(jnp.zeros((1, 8, 8, 3)), jnp.full((1, 8, 8, 3), 0.5))[0]), 2)
        12.04
    """
    return 10 * jnp.log10(4 / _mean_square(*check_pair(a, b)))


@jax.jit
def _mean_square(a: Images, b: Images) -> PerImage:
    return jnp.mean((a - b) ** 2, axis=(1, 2, 3))
