"""Clean pictures with their classes, which of them meet which corruption, and the corrupted ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from code_jax.corruptions.registry import corrupt, picture_seed
from code_jax.errors import UserError
from code_jax.training.data import held_out, read_pictures


class Pool(NamedTuple):
    """Pictures uint8 [N, S, S, 3], and int [N] the places of their folders' names among the classes; None if any has none."""

    pixels: np.ndarray
    labels: np.ndarray | None

    @property
    def hash(self) -> str:
        """SHA-256 of the pixels."""
        return hashlib.sha256(self.pixels.tobytes()).hexdigest()


def read_pool(source: Path, size: int, classes: Sequence[str], held: int | None = None) -> Pool:
    """The pictures of a folder or zip, or of them the `held` that `code_jax.training` holds out of training by name hash.

    Raises:
        UserError: if there is no such source, no readable picture, or fewer than `held`.
    """
    names, pixels = read_pictures(source, size)
    folders = [PurePosixPath(name.replace("\\", "/")).parent.name for name in names]
    known = set(folders) <= set(classes)
    labels = np.array([classes.index(folder) for folder in folders]) if known else None
    if held is not None:
        if not 1 <= held <= len(names):
            raise UserError(f"{held} pictures cannot be held out of {len(names)} in {str(source)!r}")
        chosen = held_out(names, held)
        pixels, labels = pixels[chosen], None if labels is None else labels[chosen]
    return Pool(pixels, labels)


def picked(pool: Pool, corruption: str, count: int, seed: int) -> np.ndarray:
    """Indices [count] of the pictures for a corruption, the same for every method and severity, whatever else is in the table.

    They are the first of a permutation of the corruption's own, from its name and the seed, over and over where there are fewer.
    """
    own = int.from_bytes(hashlib.sha256(corruption.encode()).digest()[:8])
    order = np.random.default_rng([seed, own]).permutation(len(pool.pixels))
    return order[np.arange(count) % len(order)]


def corrupted(pixels: np.ndarray, name: str, severity: int, seed: int) -> np.ndarray:
    """Pictures uint8 [B, S, S, 3] as ``code-jax corrupt`` damages them."""
    return np.stack([corrupt(picture, name, severity, picture_seed(seed, picture)) for picture in pixels])
