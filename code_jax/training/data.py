"""Training pictures: a folder or a zip, read whole into one uint8 array."""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from code_jax.errors import UserError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def read_pictures(source: str | Path, size: int) -> tuple[list[str], np.ndarray]:
    """Names and pictures uint8 [N, size, size, 3] of a folder or zip, sorted by name; bad files are named and skipped.

    Raises:
        UserError: if the source does not exist or holds no readable picture.
    """
    names, pictures = [], []
    for name, data in _files(Path(source)):
        try:
            with Image.open(io.BytesIO(data)) as picture:
                pictures.append(_square(picture.convert("RGB"), size))
            names.append(name)
        except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
            print(f"skipped {name}: {error}", file=sys.stderr)
    if not names:
        raise UserError(f"no readable picture in {source}: give a folder or zip of {', '.join(EXTENSIONS)} files")
    return names, np.stack(pictures)


def held_out(names: list[str], count: int) -> np.ndarray:
    """True for the `count` names with the smallest SHA-256: a split that depends on names alone. bool [N]."""
    order = np.argsort([hashlib.sha256(name.encode()).hexdigest() for name in names])
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


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        for path in sorted(p for p in source.rglob("*") if p.suffix.lower() in EXTENSIONS):
            yield str(path.relative_to(source)), path.read_bytes()
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            for name in sorted(n for n in archive.namelist() if n.lower().endswith(EXTENSIONS)):
                yield name, archive.read(name)
    else:
        raise UserError(f"{source} is neither a folder nor a zip file")


def _square(picture: Image.Image, size: int) -> np.ndarray:
    if picture.size != (size, size):
        width, height = picture.size
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        box = (left, top, left + side, top + side)
        picture = picture.resize((size, size), Image.Resampling.BOX if side >= size else Image.Resampling.BICUBIC, box)
    return np.asarray(picture)
