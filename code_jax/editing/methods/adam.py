"""Adam (Kingma & Ba 2015, algorithm 1) of a batch of images, each by itself."""

from __future__ import annotations

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from code_jax.shapes import PerImage

Numbers = Float[Array, "batch ..."]
_FIRST, _SECOND, _SMALL = 0.9, 0.999, 1e-8


class Moments(flax.struct.PyTreeNode):
    """Of the gradients so far.

    Attributes:
        first, second: running means of them and of their squares, [B, ...].
        count: how many, int32 [B].
    """

    first: Numbers
    second: Numbers
    count: Int[Array, " batch"]


def no_moments(values: Numbers) -> Moments:
    """Before the first gradient, of values [B, ...]."""
    return Moments(jnp.zeros_like(values), jnp.zeros_like(values), jnp.zeros(len(values), jnp.int32))


def adam(gradient: Numbers, moments: Moments, learning_rate: PerImage) -> tuple[Numbers, Moments]:
    """What is added to the values, and the moments after it; learning_rate is [B]."""
    count = moments.count + 1
    first = _FIRST * moments.first + (1 - _FIRST) * gradient
    second = _SECOND * moments.second + (1 - _SECOND) * gradient**2

    def of_image(number: PerImage) -> Numbers:
        return number.reshape(-1, *[1] * (gradient.ndim - 1)).astype(gradient.dtype)

    unbiased = first / of_image(1 - _FIRST**count)
    scale = jnp.sqrt(second / of_image(1 - _SECOND**count)) + _SMALL
    return -of_image(learning_rate) * unbiased / scale, Moments(first, second, count)
