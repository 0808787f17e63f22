"""Halving and doubling the size of images by short filters, without parameters."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from code_jax.models.layers import downsample, upsample

FILTERS = ((1, 1), (1, 3, 3, 1))  # a box; a binomial filter, which aliases less (Zhang 2019)


def halve(x: jax.Array, taps: tuple[int, ...], margin: int) -> jax.Array:
    """Filters [B, H, W, C] and keeps every second pixel; `margin` pixels of zeros around the image are added first."""
    if taps == (1, 1):
        return downsample(x)
    for axis in (1, 2):
        length = x.shape[axis] + 2 * margin
        x = jnp.pad(x, [(margin, margin) if i == axis else (0, 0) for i in range(4)])
        a, b, c, d = (jax.lax.slice_in_dim(x, i, length - 3 + i, 2, axis) for i in range(4))
        x = (a + d + 3 * (b + c)) / 8
    return x


def double(x: jax.Array, taps: tuple[int, ...]) -> jax.Array:
    """Puts a zero between all pixels of [B, H, W, C] and filters, so that a constant stays what it is but at the borders."""
    if taps == (1, 1):
        return upsample(x)
    for axis in (1, 2):
        length = x.shape[axis]
        padded = jnp.pad(x, [(1, 1) if i == axis else (0, 0) for i in range(4)])
        before, after = (jax.lax.slice_in_dim(padded, i, length + i, 1, axis) for i in (0, 2))
        pairs = jnp.stack([3 * x + before, 3 * x + after], axis + 1) / 4
        x = pairs.reshape(*x.shape[:axis], 2 * length, *x.shape[axis + 1 :])
    return x
