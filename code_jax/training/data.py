"""Training pictures: what a folder or zip archive holds, and the order in which it is drawn."""

from __future__ import annotations

import functools
import hashlib
import itertools
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from code_jax.errors import UserError
from code_jax.pictures.collection import EXTENSIONS, read_collection
from code_jax.pictures.fitting import eight_bits, fitted, with_alpha
from code_jax.pictures.loading import PictureError


def readable(source: str | Path, channels: int) -> Iterator[tuple[str, np.ndarray]]:
    """Names and pixels of the pictures of a folder or zip archive, one at a time, sorted by name.

    Bad files are named on stderr and skipped; of what was left out of good ones each kind is told once, at the end.

    Raises:
        UserError: if the source does not exist or holds no readable picture.
    """
    warnings, some = Counter[str](), False
    for name, picture in read_collection(Path(source)):
        try:
            if isinstance(picture, PictureError):
                raise picture
            pixels = with_alpha(picture.pixels, picture.alpha, channels)
        except PictureError as error:
            print(f"code-jax: skipped {name!r}: {error}", file=sys.stderr)
            continue
        yield name, pixels
        warnings.update(picture.warnings)
        some = True
    for text, number in warnings.items():
        print(f"code-jax: warning: of {number} picture{'s' * (number > 1)}: {text}", file=sys.stderr)
    if not some:
        raise UserError(f"no readable picture in {str(source)!r}: looked for {', '.join(sorted(EXTENSIONS))}")


def read_pictures(source: str | Path, size: int, channels: int = 3) -> tuple[list[str], np.ndarray]:
    """Names and pictures uint8 [N, size, size, channels] of a folder or zip archive, as `restore` sees them with ``--fit crop``.

    Bad files and errors as `readable`.
    """
    shape, names, pictures = (size, size, channels), list[str](), list[np.ndarray]()
    for name, pixels in readable(source, channels):
        names.append(name)
        pictures.append(eight_bits(fitted(pixels, shape, "crop"), channels))
    return names, np.stack(pictures)


def held_out(names: list[str], count: int) -> np.ndarray:
    """True for the `count` names with the smallest SHA-256: a split that depends on names alone. bool [N]."""
    order = np.argsort([hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest() for name in names])
    mask = np.zeros(len(names), bool)
    mask[order[:count]] = True
    return mask


def draws(
    seed: int, shares: Sequence[float], counts: Sequence[int], size: int, start: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What each step from `start` on draws: sources [size] by their shares, and a position in each one's list [size].

    A function of seed and step alone. Within a source nothing is drawn twice until all was drawn once.

    Args:
        seed: of the order.
        shares: of the sources, of sum 1.
        counts: how many pictures each has.
        size: of a batch.
        start: the first step.
    """

    @functools.lru_cache(maxsize=2 * len(counts))
    def order(source: int, epoch: int) -> np.ndarray:
        return np.random.default_rng([seed, source, epoch]).permutation(counts[source])

    rng, drawn = np.random.default_rng(seed), np.zeros(len(counts), np.int64)
    for step in itertools.count():
        sources = rng.choice(len(counts), size, p=shares)
        if step >= start:
            positions = np.empty(size, np.int64)
            for source in np.unique(sources):
                mine = np.flatnonzero(sources == source)
                places = (divmod(int(drawn[source]) + i, counts[source]) for i in range(len(mine)))
                positions[mine] = [order(int(source), epoch)[place] for epoch, place in places]
            yield sources, positions
        drawn += np.bincount(sources, minlength=len(counts))
