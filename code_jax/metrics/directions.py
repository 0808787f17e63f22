"""Principal directions of features: a Fréchet distance in few of them needs few pictures."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from code_jax.errors import UserError
from code_jax.metrics.frechet import Moments
from code_jax.shapes import AnyArray, GivenFeatures


class Directions(NamedTuple):
    """A subspace of features, by `principal_directions`.

    Attributes:
        mean: the origin, [D].
        basis: orthonormal columns, the direction of the largest variance first, [D, K].
    """

    mean: Float[AnyArray, " features"]
    basis: Float[AnyArray, "features directions"]


def principal_directions(moments: Moments, count: int = 64) -> Directions:
    """The directions in which a set of features varies most: the first eigenvectors of its covariance.

    Fewer pictures than features leave a Fréchet distance little but its bias. In K ≪ D directions, fitted once on other
    pictures, it takes as many pictures as K features do, and distances of different runs compare.

    Args:
        moments: of the set, by `moments_update`.
        count: K, from 1 to D, and fewer than the features of the set.

    Returns:
        `Directions` of float64; the largest entry of each column is positive.

    Raises:
        UserError: for a count that the moments do not determine.

    Example:
        >>> from code_jax.metrics import moments_init, moments_update
        >>> moments = moments_update(moments_init(2), [[0.0, 1.0], [4.0, 1.0], [2.0, 2.0]])
        >>> principal_directions(moments, 1).basis.tolist()
        [[1.0], [0.0]]
    """
    if not 1 <= count <= min(len(moments.mean), moments.number - 1):
        raise UserError(
            f"{count} principal directions of {int(moments.number)} features of size {len(moments.mean)} are not determined; "
            "take fewer, or more features"
        )
    basis = np.linalg.eigh(moments.scatter)[1][:, : -count - 1 : -1]
    largest = np.take_along_axis(basis, np.abs(basis).argmax(axis=0, keepdims=True), axis=0)
    return Directions(moments.mean, basis * np.sign(largest))


def project(features: GivenFeatures, directions: Directions) -> Float[Array, "batch directions"]:
    """Coordinates of features in a subspace: (f − mean) basis.

    Args:
        features: floating [B, D].
        directions: of `principal_directions` or `load_photo_directions`.

    Returns:
        float32 [B, K].

    Raises:
        UserError: for features of another size.

    Example:
        >>> project(jnp.array([[3.0, 4.0]]), Directions(jnp.array([1.0, 1.0]), jnp.array([[0.0], [1.0]]))).tolist()
        [[3.0]]
    """
    features = jnp.asarray(features)
    if features.ndim != 2 or features.shape[1] != len(directions.mean):
        raise UserError(f"features of shape {features.shape} do not fit; these directions take [B, {len(directions.mean)}]")
    return jnp.matmul(features - jnp.float32(directions.mean), jnp.float32(directions.basis), precision=jax.lax.Precision.HIGHEST)
