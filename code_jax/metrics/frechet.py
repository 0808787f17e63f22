"""The Fréchet distance of two sets in any features, by moments that are gathered batch by batch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from code_jax.errors import UserError
from code_jax.shapes import GivenFeatures


class Moments(NamedTuple):
    """Number, mean and scatter of a set of features, by `moments_update`; a small pytree, and all that is kept of the set.

    In float64, on the host: small eigenvalues of a covariance, of which 2048 features have many, are lost in
    float32's rounding of the large ones, and their roots are what the distance adds up.

    Attributes:
        number: how many.
        mean: [D].
        scatter: Σ (f − mean)(f − mean)ᵀ, [D, D].
    """

    number: float
    mean: Float[np.ndarray, " features"]
    scatter: Float[np.ndarray, "features features"]


def moments_init(size: int) -> Moments:
    """The moments of no feature.

    Args:
        size: D, of the features to come.

    Returns:
        `Moments` of number 0.

    Example:
        >>> moments_init(2048).mean.shape
        (2048,)
    """
    return Moments(0.0, np.zeros(size), np.zeros((size, size)))


def moments_update(moments: Moments, features: GivenFeatures) -> Moments:
    """The moments with a batch of features added.

    Args:
        moments: of `moments_init`, or of this.
        features: floating [B, D], such as those of `photo_features`, `inception_features` or `landcover`.

    Returns:
        `Moments`, of float64.

    Raises:
        UserError: for features of another size, or that are not finite.

    Example:
        >>> moments = moments_update(moments_init(2), [[0.0, 1.0], [2.0, 1.0]])
        >>> moments.mean.tolist(), moments.scatter.tolist()
        ([1.0, 1.0], [[2.0, 0.0], [0.0, 0.0]])
    """
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or features.shape[1] != len(moments.mean):
        raise UserError(f"features of shape {features.shape} do not fit; these moments take [B, {len(moments.mean)}]")
    if not np.isfinite(features).all():
        row = int(np.flatnonzero(~np.isfinite(features).all(1))[0])
        raise UserError(f"the features of image {row} of a batch are not finite; leave it out")
    if not len(features):
        return moments
    mean = features.mean(0)
    centred = features - mean
    return moments_merge(moments, Moments(float(len(features)), mean, centred.T @ centred))


def moments_merge(a: Moments, b: Moments) -> Moments:
    """The moments of both sets together (Chan, Golub & LeVeque 1979, equations 2.1): no digits are lost to a large mean.

    Args:
        a, b: `Moments` of two sets, which share no feature.

    Returns:
        `Moments`.

    Raises:
        UserError: for moments of different sizes.

    Example:
        >>> halves = [moments_update(moments_init(1), [[value]]) for value in (0.0, 2.0)]
        >>> moments_merge(*halves).scatter.tolist()
        [[2.0]]
    """
    _check_sizes(a, b)
    number = a.number + b.number
    if not number:
        return a
    step = b.mean - a.mean
    scatter = a.scatter + b.scatter + np.outer(step, step) * (a.number * b.number / number)
    return Moments(number, a.mean + step * (b.number / number), scatter)


def frechet_distance(a: Moments, b: Moments) -> float:
    """‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2(Σ_aΣ_b)^½), squared as is the custom (Dowson & Landau 1982; Heusel et al. 2017, eq. 6).

    With Σ = LLᵀ the last trace is the sum of the singular values of L_aᵀL_b, which needs no root of a product that is not
    symmetric and is exact for covariances of any rank. Covariances are unbiased (n − 1). With no more images than features
    the distance of equal distributions is far from 0: compare only equal counts.

    Args:
        a, b: `Moments` of the two sets, of two features at least.

    Returns:
        The squared distance, in the features' unit squared; 0 at least.

    Raises:
        UserError: for moments of different sizes, or of fewer than two features.

    Example:
        >>> a = moments_update(moments_init(1), [[0.0], [2.0]])
        >>> b = moments_update(moments_init(1), [[3.0], [5.0]])
        >>> round(frechet_distance(a, b), 12)
        9.0
    """
    _check_sizes(a, b)
    if min(a.number, b.number) < 2:
        raise UserError(f"a Fréchet distance takes two features a set at least; there are {int(a.number)} and {int(b.number)}")
    covariances = [moments.scatter / (moments.number - 1) for moments in (a, b)]
    factor_a, factor_b = map(_factor, covariances)
    overlap = np.linalg.svd(factor_a.T @ factor_b, compute_uv=False).sum()
    distance = np.sum((a.mean - b.mean) ** 2) + sum(map(np.trace, covariances)) - 2 * overlap
    return max(float(distance), 0.0)


def frechet_floor(features: GivenFeatures, count: int, draws: int = 10, seed: int = 0) -> float:
    """The Fréchet distance of clean pictures to clean pictures: what perfect results would be at, which falls with their number.

    To be stated beside every distance of `count` results to `count` clean pictures: the mean over random disjoint pairs of sets.

    Args:
        features: floating [N, D] of clean pictures.
        count: of each set: two at least, and N/2 at most.
        draws: pairs of sets.
        seed: of the drawing.

    Returns:
        The mean squared distance, in the features' unit squared.

    Raises:
        UserError: for another count or number of draws, or features that are not finite.

    Example:
        >>> frechet_floor([[0.0], [2.0], [3.0], [5.0]], 2, draws=1) > 0
        True
    """
    features, rng = np.asarray(features, np.float64), np.random.default_rng(seed)
    if features.ndim != 2 or not 2 <= count <= len(features) // 2 or draws < 1:
        raise UserError(f"no {draws} pairs of disjoint sets of {count} can be drawn from features of shape {features.shape}")
    distances = []
    for _ in range(draws):
        order, empty = rng.permutation(len(features)), moments_init(features.shape[1])
        halves = (moments_update(empty, features[rows]) for rows in (order[:count], order[count : 2 * count]))
        distances.append(frechet_distance(*halves))
    return float(np.mean(distances))


def _factor(covariance: Float[np.ndarray, "features features"]) -> Float[np.ndarray, "features features"]:
    """L with LLᵀ the covariance; eigenvalues that rounding made negative are 0."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0))


def _check_sizes(a: Moments, b: Moments) -> None:
    if len(a.mean) != len(b.mean):
        raise UserError(f"moments of {len(a.mean)} and of {len(b.mean)} features cannot go together; use one feature function")
