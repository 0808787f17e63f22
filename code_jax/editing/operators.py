"""Linear operators that a method may be told: what becomes of an image before its noise, as functions of it.

They are those of the corruptions of the same names. A new one is a function here and in `code_jax.corruptions.linear`.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from code_jax.shapes import Images, Level

Operator = Callable[[Images], Images]  # of images [B, H, W, C] in [−1, 1], where gray is 0
Kernels = Float[Array, "batch side side channels"]

_SIGMA, _RADIUS, _SIDE = 1.5, 6, 4


def linear_blur(images: Images) -> Images:
    """A Gaussian of σ = 1.5 pixels; the picture is mirrored at its border."""
    weights = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / _SIGMA) ** 2)
    kernel = jnp.asarray(weights / weights.sum(), images.dtype)
    for axis in (1, 2):
        padded = jnp.pad(images, [(_RADIUS, _RADIUS) if k == axis else (0, 0) for k in range(4)], mode="reflect")
        size = images.shape[axis]
        images = sum(weight * jax.lax.slice_in_dim(padded, k, k + size, axis=axis) for k, weight in enumerate(kernel))
    return images


def linear_downsample(images: Images) -> Images:
    """The mean of squares of four pixels by four, in their place; the border is repeated where they do not divide the picture."""
    batch, height, width, channels = images.shape
    padded = jnp.pad(images, ((0, 0), (0, -height % _SIDE), (0, -width % _SIDE), (0, 0)), mode="edge")
    means = padded.reshape(batch, padded.shape[1] // _SIDE, _SIDE, padded.shape[2] // _SIDE, _SIDE, channels).mean((2, 4))
    return means.repeat(_SIDE, 1).repeat(_SIDE, 2)[:, :height, :width]


def linear_mask(images: Images) -> Images:
    """Gray in the square of half the sides in the middle."""
    height, width = images.shape[1:3]
    inside = [(jnp.arange(n) >= n // 4) & (jnp.arange(n) < n - n // 4) for n in (height, width)]
    return jnp.where((inside[0][:, None] & inside[1])[..., None], 0, images)


OPERATORS: dict[str, Operator] = {each.__name__: each for each in (linear_blur, linear_downsample, linear_mask)}


def transposed(operator: Operator, images: Images) -> Images:
    """Aᵀ of images."""
    (result,) = jax.linear_transpose(operator, images)(images)
    return result


def nearest(operator: Operator, given: Images, near: Images, weight: Level, steps: int) -> Images:
    """argmin_x ‖y − Ax‖² + w‖x − x'‖² by conjugate gradients (Hestenes & Stiefel 1952) from x', image by image.

    Args:
        operator: A.
        given: y, [B, H, W, C].
        near: x', [B, H, W, C].
        weight: w > 0, [B, 1, 1, 1].
        steps: of the iteration; its error falls by (√κ − 1)/(√κ + 1) in each, κ ≤ 1 + ‖A‖²/w.
    """

    def normal(x: Images) -> Images:
        return transposed(operator, operator(x)) + weight * x

    def dot(a: Images, b: Images) -> Level:
        return jnp.sum(a * b, axis=(1, 2, 3), keepdims=True)

    tiny = jnp.finfo(near.dtype).tiny

    def step(_: jax.Array, state: tuple[Images, ...]) -> tuple[Images, ...]:
        x, rest, along = state
        image, size = normal(along), dot(rest, rest)
        length = size / jnp.maximum(dot(along, image), tiny)
        after = rest - length * image
        return x + length * along, after, after + dot(after, after) / jnp.maximum(size, tiny) * along

    rest = transposed(operator, given) + weight * near - normal(near)
    found: Images = jax.lax.fori_loop(0, steps, step, (near, rest, rest))[0]
    return found


def convolved(images: Images, kernels: Kernels) -> Images:
    """Each channel of images [B, H, W, C] correlated with its own kernel of [B, k, k, C], k odd; outside is 0."""
    batch, height, width, channels = images.shape
    side = kernels.shape[1]
    joined = jnp.moveaxis(images, 0, -2).reshape(1, height, width, batch * channels)
    filters = jnp.moveaxis(kernels, 0, -2).reshape(side, side, 1, batch * channels)
    found = jax.lax.conv_general_dilated(
        joined, filters, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=batch * channels
    )
    return jnp.moveaxis(found.reshape(height, width, batch, channels), 2, 0)
