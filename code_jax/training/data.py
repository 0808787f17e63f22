"""Training pictures: a folder or a zip, read whole into one uint8 array."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from code_jax.errors import UserError
from code_jax.pictures.collection import EXTENSIONS, read_collection
from code_jax.pictures.fitting import eight_bits, fitted, with_alpha
from code_jax.pictures.loading import PictureError


def read_pictures(source: str | Path, size: int, channels: int = 3) -> tuple[list[str], np.ndarray]:
    """Names and pictures uint8 [N, size, size, channels] of a folder or zip archive, as `restore` sees them with ``--fit crop``.

    Bad files are named on stderr and skipped; of what was left out of good ones each kind is told once.

    Raises:
        UserError: if the source does not exist or holds no readable picture.
    """
    names: list[str] = []
    pictures: list[np.ndarray] = []
    warnings: Counter[str] = Counter()
    for name, picture in read_collection(Path(source)):
        try:
            if isinstance(picture, PictureError):
                raise picture
            pixels = fitted(with_alpha(picture.pixels, picture.alpha, channels), (size, size, channels), "crop")
            pictures.append(eight_bits(pixels, channels))
            names.append(name)
            warnings.update(picture.warnings)
        except PictureError as error:
            print(f"code-jax: skipped {name!r}: {error}", file=sys.stderr)
    for text, number in warnings.items():
        print(f"code-jax: warning: of {number} picture{'s' * (number > 1)}: {text}", file=sys.stderr)
    if not names:
        raise UserError(f"no readable picture in {str(source)!r}: looked for {', '.join(sorted(EXTENSIONS))}")
    return names, np.stack(pictures)


def held_out(names: list[str], count: int) -> np.ndarray:
    """True for the `count` names with the smallest SHA-256: a split that depends on names alone. bool [N]."""
    order = np.argsort([hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest() for name in names])
    mask = np.zeros(len(names), bool)
    mask[order[:count]] = True
    return mask


def batches(seed: int, count: int, size: int, start: int = 0) -> Iterator[np.ndarray]:
    """Indices [size] of each step from `start` on: a fresh permutation an epoch, a function of the seed and step alone."""
    per_epoch = max(count // size, 1)
    epoch, skip = divmod(start, per_epoch)
    while True:
        order = np.random.default_rng([seed, epoch]).permutation(count)
        for position in range(skip, per_epoch):
            yield np.resize(order[position * size : (position + 1) * size], size)
        epoch, skip = epoch + 1, 0
