"""Means over corruptions, and a Fréchet distance with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from code_jax.metrics import Moments, frechet_distance, frechet_floor, moments_init, moments_update


class Interval(NamedTuple):
    """An estimate with the ends of its 95 % interval."""

    estimate: float
    low: float
    high: float


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (n − 1) of the values that are finite; NaN where there are too few.

    Example:
        >>> mean_and_deviation([1.0, 3.0, float("nan")])
        (2.0, 1.4142135623730951)
    """
    finite = np.array([value for value in values if np.isfinite(value)], float)
    mean = float(finite.mean()) if len(finite) else float("nan")
    return mean, float(finite.std(ddof=1)) if len(finite) > 1 else float("nan")


def moments_of(features: np.ndarray) -> Moments:
    """The moments of features [N, D]; rows that are not finite are left out."""
    return moments_update(moments_init(features.shape[1]), features[np.isfinite(features).all(axis=1)])


def floor_said(features: np.ndarray) -> str:
    """The Fréchet distance of features [N, D] of clean pictures among themselves, in words."""
    count = len(features) // 2
    if count < 2:
        return f"not measured: {len(features)} clean pictures are no two halves of two at least"
    return f"{frechet_floor(features, count):.2f} between random halves of the clean pictures, {count} each"


def pooled_frechet(features: np.ndarray, reference: Moments, resamples: int, seed: int) -> Interval:
    """The Fréchet distance of features [N, D] to a reference, with the bootstrap's interval (Efron & Tibshirani 1993).

    Resampled pictures repeat, which alone adds to the distance; so the 2.5 and 97.5 % quantiles are those of the resampled
    distances about their own mean, moved to the estimate.

    Args:
        features: of restored pictures; rows that are not finite are left out.
        reference: of clean pictures, which are taken as given.
        resamples: how many; 0 gives NaN for the ends.
        seed: of the resampling.
    """
    features = features[np.isfinite(features).all(axis=1)]
    if len(features) < 2:
        return Interval(np.nan, np.nan, np.nan)
    estimate, rng = frechet_distance(moments_of(features), reference), np.random.default_rng(seed)
    if not resamples:
        return Interval(estimate, np.nan, np.nan)
    again = [
        frechet_distance(moments_of(features[rng.integers(0, len(features), len(features))]), reference) for _ in range(resamples)
    ]
    low, high = estimate + np.quantile(again, (0.025, 0.975)) - np.mean(again)
    return Interval(estimate, float(max(low, 0.0)), float(high))
