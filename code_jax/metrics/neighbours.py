"""Nearest neighbours by features: is a restoration still that of its source, and is a sample one of the training pictures?"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from code_jax.errors import UserError
from code_jax.shapes import AnyArray, GivenFeatures, PerImage


def nearest_neighbours(
    features: GivenFeatures, others: Float[AnyArray, "others features"]
) -> tuple[Int[Array, " batch"], PerImage]:
    """The nearest of other features to each, by the cosine distance 1 − f·g/(‖f‖‖g‖).

    With others in the order of their sources, ``mean(index == arange(B))`` is the rank-1 recognition rate.

    Args:
        features: floating [B, D], such as those of `photo_features`.
        others: floating [N, D], N ≥ 1.

    Returns:
        Indices int32 [B] into the others, and the distances float32 [B], from 0 to 2; NaN where features are not finite.

    Raises:
        UserError: for other shapes.

    Example:
        >>> index, distance = nearest_neighbours(jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 1.0], [1.0, 0.0]]))
        >>> index.tolist(), distance.tolist()
        ([1], [0.0])
    """
    features, others = jnp.asarray(features), jnp.asarray(others)
    if features.ndim != 2 or others.ndim != 2 or features.shape[1] != others.shape[1] or not len(others):
        raise UserError(f"features of shapes {features.shape} and {others.shape} do not fit: [B, D] and [N, D] of one D, N ≥ 1")
    return _nearest(features, others)


@jax.jit
def _nearest(
    features: Float[Array, "batch features"], others: Float[Array, "others features"]
) -> tuple[Int[Array, " batch"], PerImage]:
    a, b = (x / jnp.linalg.norm(x, axis=1, keepdims=True) for x in (features, others))
    distances = 1 - jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.argmin(distances, axis=1).astype(jnp.int32), jnp.min(distances, axis=1)
