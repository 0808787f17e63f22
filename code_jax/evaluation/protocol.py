"""Which setting of a grid is reported: the best for each image, or one chosen on other pictures and other corruptions."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

_SALT = "373"  # the first number by which the 47 fall into halves and every family into both
PROTOCOLS = {
    "oracle": "per image the setting of the grid with the highest PSNR to the clean source, which is looked at",
    "blind": "one setting for all images of a fold, chosen on tuning pictures and on the other fold's corruptions",
}


def folds(corruptions: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The corruptions of either fold, which depends on a corruption's name alone; every family is in both.

    Example:
        >>> folds(["fog", "frost", "snow"])
        (('fog',), ('frost', 'snow'))
    """
    first = [int.from_bytes(hashlib.sha256(f"{_SALT}{name}".encode()).digest()[:1]) % 2 == 0 for name in corruptions]
    return tuple(itertools.compress(corruptions, first)), tuple(n for n, one in zip(corruptions, first, strict=True) if not one)


def oracle(scores: np.ndarray) -> np.ndarray:
    """Index of each image's best setting, int [B], of scores [P, B]; the first of equals, and never NaN's unless all are.

    Example:
        >>> oracle(np.array([[1.0, np.nan], [3.0, 2.0], [3.0, 1.0]])).tolist()
        [1, 1]
    """
    return np.argmax(_comparable(scores), axis=0)


def blind(scores: Mapping[str, np.ndarray]) -> int:
    """Index of the setting whose mean over corruptions, of means over images, is highest; a setting that fails once is last.

    Example:
        >>> blind({"fog": np.array([[9.0, 9.0], [8.0, 8.0]]), "snow": np.array([[1.0, 1.0], [3.0, 3.0]])})
        1
    """
    return int(np.argmax(np.mean([_comparable(found).mean(axis=1) for found in scores.values()], axis=0)))


def _comparable(scores: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(scores), -np.inf, scores).astype(np.float64)
