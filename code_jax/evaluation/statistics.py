"""Means over corruptions, a Fréchet distance with an interval, and what one row has over another on the same pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


class Pairs(NamedTuple):
    """Results of two rows on the same corrupted pictures.

    Attributes:
        corruption, picture: of each result, int [N]; a picture may meet several corruptions.
        values: by column, of either row, [2, N].
        features: of either row, [2, N, D].
    """

    corruption: np.ndarray
    picture: np.ndarray
    values: Mapping[str, np.ndarray]
    features: np.ndarray


def paired(pairs: Pairs, reference: Moments, resamples: int, seed: int) -> dict[str, Interval]:
    """The first row less the second, with 95 % bootstrap intervals over pictures, each with all that came of it.

    Of a column the mean over corruptions of the mean over pictures; of "frechet" the share by which the first row's distance
    to the reference is the larger, whose interval is moved as that of `pooled_frechet` is.

    Args:
        pairs: of the rows; a result that is not finite in either is left out.
        reference: of clean pictures, which are taken as given.
        resamples: how many; 0 gives NaN for the ends.
        seed: of the resampling.
    """
    pictures, which = np.unique(pairs.picture, return_inverse=True)
    rng = np.random.default_rng(seed)
    weights = [np.bincount(rng.integers(0, len(pictures), len(pictures)), minlength=len(pictures)) for _ in range(resamples)]
    drawn = [np.ones(len(which), int), *(weight[which] for weight in weights)]
    found = {
        name: [_mean_difference(pairs.corruption, values[0], values[1], weight) for weight in drawn]
        for name, values in pairs.values.items()
    }
    finite = np.isfinite(pairs.features).all(axis=(0, 2))
    found["frechet"] = [_relative(pairs.features[:, finite], reference, weight[finite]) for weight in drawn]
    return {name: _interval(values, moved=name == "frechet") for name, values in found.items()}


def _mean_difference(corruption: np.ndarray, one: np.ndarray, other: np.ndarray, weight: np.ndarray) -> float:
    finite = np.isfinite(one) & np.isfinite(other)
    total = np.bincount(corruption[finite], weight[finite])
    sums = np.bincount(corruption[finite], weight[finite] * (one[finite].astype(float) - other[finite]))
    there = total > 0
    return float(np.mean(sums[there] / total[there])) if there.any() else float("nan")


def _relative(features: np.ndarray, reference: Moments, weight: np.ndarray) -> float:
    if weight.sum() < 2:
        return float("nan")
    one, other = (frechet_distance(moments_of(np.repeat(row, weight, axis=0)), reference) for row in features)
    return one / other - 1 if other > 0 else float("nan")


def _interval(values: Sequence[float], *, moved: bool) -> Interval:
    estimate, again = values[0], np.array(values[1:])
    if not np.isfinite(again).any():
        return Interval(estimate, float("nan"), float("nan"))
    low, high = np.nanquantile(again, (0.025, 0.975)) + (estimate - np.nanmean(again) if moved else 0)
    return Interval(estimate, float(low), float(high))
