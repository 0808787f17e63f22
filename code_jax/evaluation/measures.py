"""What is measured of a restored picture: distances to its input and its clean source, features, and its class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from code_jax.corruptions.registry import COVERING
from code_jax.errors import UserError
from code_jax.evaluation.columns import CLIPPING, PAIRS
from code_jax.metrics import (
    accuracy,
    corrupted_pixels,
    inception_features,
    landcover,
    load_inception,
    load_landcover,
    load_lpips,
    load_photo_directions,
    load_photo_network,
    photo_features,
    precision_recall,
    project,
)
from code_jax.pictures.arrays import from_uint8

FEATURES = ("photo", "landcover", "inception")
_BATCH = 4  # pictures at a time, padded to it: one shape, compiled once


class Yardstick:
    """The networks and functions that measure.

    Args:
        features: of the Fréchet distance: "photo", the bundled network's in its 64 principal directions, "landcover", the bundled
            classifier's of satellite tiles, or "inception", whose weights the user has.
        weights: folder of downloaded weights; None is the cache's.

    Attributes:
        classes: names of the classes, as folders are called.
        absent: why a column is not measured, by its name.

    Raises:
        UserError: for unknown features, or where their weights are absent.
    """

    def __init__(self, features: str = "photo", weights: Path | None = None) -> None:
        if features not in FEATURES:
            raise UserError(f"features {features!r} are unknown; choose from {', '.join(FEATURES)}")
        self.features, self.absent = features, dict[str, str]()
        self._landcover = load_landcover()
        self._networks: dict[str, Any] = {"photo": load_photo_network()}
        self._directions = load_photo_directions()
        self._inception = load_inception(weights) if features == "inception" else None
        self.classes = self._landcover.names
        try:
            self._networks["lpips"] = load_lpips("alex", weights)
        except UserError as error:
            self.absent = {name: str(error) for name, pair in PAIRS.items() if pair.network == "lpips"}

    def measure(
        self, images: np.ndarray, given: np.ndarray, clean: np.ndarray, labels: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """`COLUMNS` but those of `CLIPPING` as float32 [P, B], NaN where not measured, and "features" float32 [P, B, D].

        Args:
            images: [P, B, H, W, 3] in [−1, 1], NaN where a result is not finite.
            given, clean: uint8 [B, H, W, 3].
            labels: int [B], or None.
        """
        count, shape = len(images), images.shape[2:]
        flat = images.reshape(-1, *shape)
        inputs, sources = (np.asarray(from_uint8(np.tile(pictures, (count, 1, 1, 1)))) for pictures in (given, clean))
        truth = np.full(len(flat), -1) if labels is None else np.tile(labels, count)
        parts = [self._measure(flat[rows], inputs[rows], sources[rows], truth[rows]) for rows in _batches(len(flat))]
        joined = {name: np.concatenate([part[name] for part in parts])[: len(flat)] for name in parts[0]}
        return {name: values.reshape(*images.shape[:2], *values.shape[1:]) for name, values in joined.items()}

    def photo_features(self, images: np.ndarray) -> np.ndarray:
        """EfficientNet's features [P, B, 1280] of images [P, B, H, W, 3] in [−1, 1]; NaN gives what it gives."""
        flat = images.reshape(-1, *images.shape[2:])
        parts = [np.asarray(photo_features(self._networks["photo"], flat[rows])) for rows in _batches(len(flat))]
        return np.concatenate(parts)[: len(flat)].reshape(*images.shape[:2], -1)

    def features_of(self, pixels: np.ndarray) -> np.ndarray:
        """Features [N, D] of pictures uint8 [N, H, W, 3]."""
        parts = [self._features(np.asarray(from_uint8(pixels[rows]))) for rows in _batches(len(pixels))]
        return np.concatenate(parts)[: len(pixels)]

    def _measure(self, images: np.ndarray, given: np.ndarray, clean: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        finite = np.isfinite(images).all(axis=(1, 2, 3))
        nothing = np.full(len(images), np.nan, np.float32)
        others = {"source": clean, "input": given}
        found: dict[str, Any] = dict.fromkeys(self.absent, nothing)
        for name, pair in PAIRS.items():
            if name not in self.absent:
                network = (self._networks[pair.network],) if pair.network else ()
                found[name] = pair.function(*network, images, others[pair.against])
        found["accuracy"] = accuracy(landcover(self._landcover, images)[0], labels)
        found["accuracy"] = np.where(finite & (labels >= 0), found["accuracy"], np.nan)
        return {name: np.asarray(values, np.float32) for name, values in found.items()} | {"features": self._features(images)}

    def _features(self, images: np.ndarray) -> np.ndarray:
        if self._inception is not None:
            return np.asarray(inception_features(self._inception, images))
        if self.features == "landcover":
            return np.asarray(landcover(self._landcover, images)[1])
        return np.asarray(project(photo_features(self._networks["photo"], images), self._directions))


def nearest_is_own(features: np.ndarray, gallery: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Rank-1 identification: whether no clean picture of the pool is nearer than the source, by the angle between features.

    Args:
        features: of restored pictures, [P, B, D].
        gallery: of all the clean pictures, [N, D].
        own: the source of each, int [B].

    Returns:
        0 or 1, NaN for a picture that is not finite. float32 [P, B].
    """
    unit = gallery / np.linalg.norm(gallery, axis=-1, keepdims=True)
    likeness = features @ unit.T  # the restored picture's own length does not matter
    best = likeness[:, np.arange(len(own)), own] >= likeness.max(axis=-1) - 1e-6 * np.linalg.norm(features, axis=-1)
    return np.where(np.isfinite(features).all(axis=-1), best, np.nan).astype(np.float32)


def clipping(
    found: np.ndarray | None, points: int, given: np.ndarray, clean: np.ndarray, corruption: str
) -> dict[str, np.ndarray]:
    """How well clipping finds what is corrupted: `CLIPPING` as float32 [P, B].

    A pixel is clipped if clipping changed any channel at any step, and corrupted if any channel differs from the clean source by
    more than one and a half 8-bit levels (`corrupted_pixels`). "corrupted" and "clipped" are shares of the pixels; the first is
    the precision of pixels taken at random.

    Args:
        found: the clipped pixels, bool [P, B, H, W]; None where the method does not clip, which makes every value NaN.
        points: P.
        given, clean: uint8 [B, H, W, 3].
        corruption: only of `COVERING` ones are there pixels that were left as they were; of others all but "clipped" are NaN.
    """
    if found is None:
        return {name: np.full((points, len(given)), np.nan, np.float32) for name in CLIPPING}
    count, values = found.shape[:2], {"clipped": found.mean(axis=(2, 3), dtype=np.float32)}
    if corruption in COVERING:
        truth = np.asarray(corrupted_pixels(from_uint8(clean), from_uint8(given)))
        truths = np.broadcast_to(truth, found.shape)
        rates = precision_recall(found.reshape(-1, *found.shape[2:]), truths.reshape(-1, *found.shape[2:]))
        values |= {"corrupted": truths.mean(axis=(2, 3), dtype=np.float32)}
        values |= {name: np.asarray(rate).reshape(count) for name, rate in zip(("precision", "recall"), rates, strict=True)}
    return {name: values.get(name, np.full(count, np.nan, np.float32)) for name in CLIPPING}


def _batches(count: int) -> np.ndarray:
    """Rows 0..count − 1 in batches of one size, the last filled with the last row."""
    return np.minimum(np.arange(-(-count // _BATCH) * _BATCH), count - 1).reshape(-1, _BATCH)
