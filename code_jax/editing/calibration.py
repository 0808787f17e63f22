"""What the statistics of clean pictures are under a prior: quantiles, and how far from typical each of them is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from code_jax.documents import is_whole
from code_jax.editing.statistics import PictureStatistics
from code_jax.errors import UserError, brief
from code_jax.priors.hash import prior_hash
from code_jax.priors.prior import Prior

SCHEMA = 1
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
FEWEST = 30  # pictures: of fewer, the tails and the covariance of six moments say nothing
FIELDS = ("noise", "residual", "residual_bands", "encoding", "encoding_bands", "path")
_LOW, _HIGH = QUANTILES.index(0.05), QUANTILES.index(0.95)
_RANKS = 101  # percentiles of the distances that are kept


class Judgement(NamedTuple):
    """What a `Calibration` says of pictures by their `picture_statistics`.

    Attributes:
        level: the smallest σ from which on no residual is above the 95 % quantile of clean pictures', interpolated in log σ:
            noise of this level hides the damage. 0 where none is above, infinity where the last is. [B].
        outside: 1 where a residual is above the 95 % quantile (noise), −1 below the 5 % quantile (smooth), else 0. int [B, S].
        distance: of the path's six moments from the clean pictures' mean, in deviations (Mahalanobis). [B].
        typicality: share of clean pictures that are at least as far. [B].
    """

    level: Float[np.ndarray, " batch"]
    outside: Int[np.ndarray, "batch levels"]
    distance: Float[np.ndarray, " batch"]
    typicality: Float[np.ndarray, " batch"]


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The statistics of clean pictures, which were not trained on, under a prior; it holds for its weights and settings alone.

    Attributes:
        prior_hash: of the prior.
        settings: ``sigmas`` and ``num_steps`` of the statistics, and what else the pictures share.
        pictures: how many.
        quantiles: at `QUANTILES` of each field of the statistics by name, [7, ...].
        mean, inverse: of the path's six moments, [6], and of their covariance, [6, 6].
        distances: percentiles 0 to 100 of the pictures' own, each from the mean and covariance of the others. [101].

    Example:
        >>> import code_jax, jax, jax.numpy as jnp
        >>> unit_gaussian = lambda params, z, sigma: z * (sigma / (1 + sigma**2))[:, None, None, None]
        >>> prior = code_jax.Prior.from_denoiser(unit_gaussian, (), (8, 8, 3), (0.01, 80.0))
        >>> images = jax.random.uniform(jax.random.key(0), (30, 8, 8, 3))
        >>> found = code_jax.picture_statistics(jax.random.key(1), prior, images, sigmas=(0.2, 0.8), num_steps=2)
        >>> calibration = Calibration.of(prior, found)
        >>> calibration.judge(prior, found).outside.shape
        (30, 2)
    """

    prior_hash: str
    settings: Mapping[str, Any]
    pictures: int
    quantiles: Mapping[str, Float[np.ndarray, "7 ..."]]
    mean: Float[np.ndarray, " 6"]
    inverse: Float[np.ndarray, "6 6"]
    distances: Float[np.ndarray, " 101"]

    @classmethod
    def of(cls, prior: Prior, statistics: PictureStatistics, **settings: Any) -> Calibration:
        """That of the statistics of clean pictures; `settings` are noted beside theirs.

        Raises:
            UserError: for fewer than 30 pictures, or statistics that are not finite.
        """
        found = {name: np.asarray(getattr(statistics, name), float) for name in FIELDS}
        count = len(found["noise"])
        if count < FEWEST:
            raise UserError(f"{count} pictures calibrate nothing; give {FEWEST} or more that the prior was not trained on")
        for name, values in found.items():
            if not np.all(np.isfinite(values)):
                raise UserError(f"{name} is not finite: the prior's weights are broken")
        path = found["path"]
        centred = path - path.mean(axis=0)
        inverse = _inverse(centred.T @ centred / (count - 1))
        # Of each picture without itself, by the Sherman-Morrison formula.
        share = np.minimum(np.einsum("bi,ij,bj->b", centred, inverse, centred) / (count - 1) * count / (count - 1), 1 - 1e-9)
        apart = np.sqrt((count - 2) * count / (count - 1) * share / (1 - share))
        quantiles = {name: np.quantile(values, QUANTILES, axis=0) for name, values in found.items()}
        noted = _settings_of(statistics) | settings
        ranks = np.quantile(apart, np.linspace(0, 1, _RANKS))
        return cls(prior_hash(prior), noted, count, quantiles, path.mean(axis=0), inverse, ranks)

    def judge(self, prior: Prior, statistics: PictureStatistics) -> Judgement:
        """What it says of pictures by their statistics.

        Raises:
            UserError: where it is of another prior, or of statistics with other settings.
        """
        self.check(prior, statistics)
        residual, quantiles = np.asarray(statistics.residual, float), self.quantiles["residual"]
        high = residual / quantiles[_HIGH]
        outside = (high > 1).astype(int) - (residual < quantiles[_LOW])
        away = np.asarray(statistics.path, float) - self.mean
        distance = np.sqrt(np.maximum(np.einsum("bi,ij,bj->b", away, self.inverse, away), 0))
        nearer = np.searchsorted(self.distances, distance, side="left") / _RANKS
        level = _levels(np.asarray(statistics.sigmas[0], float), high)
        return Judgement(level, outside, distance, np.maximum(1 - nearer, 1 / (self.pictures + 1)))

    def check(self, prior: Prior, statistics: PictureStatistics | None = None) -> None:
        """Raises UserError where it is of other weights than this prior's, or of statistics with other settings."""
        own = prior_hash(prior)
        if own != self.prior_hash:
            raise UserError(
                f"the calibration is of other weights (SHA-256 {self.prior_hash[:12]}, the prior's is {own[:12]}); "
                "make one of this prior: code-jax calibrate PRIOR PICTURES"
            )
        for name, value in {} if statistics is None else _settings_of(statistics).items():
            before: Any = self.settings.get(name)
            if np.shape(before) != np.shape(value) or not np.allclose(before, value, rtol=1e-4):
                raise UserError(
                    f"the calibration is of {name} {brief(before)}, the statistics are of {brief(value)}; "
                    "make both with the same: code-jax calibrate PRIOR PICTURES"
                )

    def to_plain(self) -> dict[str, Any]:
        """What JSON can hold of it; `from_plain` gives it back."""
        numbers = {name: _rounded(values) for name, values in self.quantiles.items()}
        arrays = {name: _rounded(getattr(self, name)) for name in ("mean", "inverse", "distances")}
        facts = {"schema": SCHEMA, "prior_hash": self.prior_hash, "settings": dict(self.settings), "pictures": self.pictures}
        return facts | {"quantiles": numbers} | arrays

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Calibration:
        """Of what `to_plain` gave.

        Raises:
            UserError: names what is not as that has it.
        """
        if plain.get("schema") != SCHEMA:
            raise UserError(f"schema is {brief(plain.get('schema'))}; this version reads {SCHEMA}: calibrate again")
        for name, kind in (("prior_hash", str), ("settings", dict), ("quantiles", dict)):
            if not isinstance(plain.get(name), kind):
                raise UserError(f"{name} is {brief(plain.get(name))}, which no calibration has")
        if not is_whole(plain.get("pictures")):
            raise UserError(f"pictures is {brief(plain.get('pictures'))}, which no calibration has")
        sigmas, steps = plain["settings"].get("sigmas"), plain["settings"].get("num_steps")
        if not isinstance(sigmas, list) or not is_whole(steps):
            raise UserError(f"settings are {brief(plain['settings'])}, which no calibration has")
        count = len(QUANTILES)
        shapes = {"noise": (), "residual": (len(sigmas),), "residual_bands": (len(sigmas), 4), "encoding": (steps,)}
        shapes |= {"encoding_bands": (steps, 4), "path": (6,)}
        quantiles = {name: _array(plain["quantiles"].get(name), name, (count, *shape)) for name, shape in shapes.items()}
        moments = {"mean": (6,), "inverse": (6, 6), "distances": (_RANKS,)}
        arrays = {name: _array(plain.get(name), name, shape) for name, shape in moments.items()}
        return cls(plain["prior_hash"], plain["settings"], plain["pictures"], quantiles, **arrays)


def _settings_of(statistics: PictureStatistics) -> dict[str, Any]:
    sigmas = [float(f"{sigma:.6g}") for sigma in np.asarray(statistics.sigmas[0], float)]
    return {"sigmas": sigmas, "num_steps": int(np.shape(statistics.encoding)[1])}


def _inverse(covariance: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """Of a covariance whose moments have scales of their own; directions that do not vary are left out."""
    scale = np.sqrt(np.diag(covariance))
    scale = np.where(scale > 0, scale, 1)
    return np.linalg.pinv(covariance / np.outer(scale, scale), rcond=1e-6, hermitian=True) / np.outer(scale, scale)


def _levels(sigmas: Float[np.ndarray, " levels"], ratio: Float[np.ndarray, "batch levels"]) -> Float[np.ndarray, " batch"]:
    """Where the ratios [B, S] come below 1 for good, between the levels [S] that they are of."""
    order = np.argsort(sigmas)
    sigmas, ratio = sigmas[order], ratio[:, order]
    level = np.zeros(len(ratio))
    for i, own in enumerate(ratio):
        above = np.flatnonzero(own > 1)
        if above.size:
            k = above[-1]
            if k + 1 == len(sigmas):
                level[i] = np.inf
                continue
            first, last = np.log(own[k]), np.log(own[k + 1])
            share = first / (first - last)
            level[i] = np.exp(np.log(sigmas[k]) + share * (np.log(sigmas[k + 1]) - np.log(sigmas[k])))
    return level


def _rounded(values: np.ndarray) -> Any:
    """To seven digits, as lists."""
    return np.vectorize(lambda value: float(f"{value:.7g}"), otypes=[float])(values).tolist()


def _array(value: Any, name: str, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.asarray(value, float)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{name} is {brief(value)}, which no calibration has") from error
    if array.shape != shape or not np.all(np.isfinite(array)):
        raise UserError(f"{name} has shape {array.shape} or is not finite; a calibration's has {shape}")
    return array
