"""Pictures on disk: which ones, what they hold, and where their results go."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from code_jax.errors import UserError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
FITS = ("resize", "crop")


class Source(NamedTuple):
    """A picture to restore: its path, its output's path without ending, and its clean source if there is one."""

    path: Path
    output: Path
    reference: Path | None


def find_sources(inputs: Sequence[str | Path], out: Path, reference: Path | None = None) -> list[Source]:
    """The pictures of files and folders (searched in depth, sub-folders mirrored in the output), sorted within each.

    A folder's own ``clean/`` with a picture for each of the folder's is taken as the clean sources, not as input.

    Raises:
        UserError: if an input does not exist, or there is no picture at all.
    """
    found: list[tuple[Path, Path, Path | None]] = []
    for entry in map(Path, inputs):
        if entry.is_dir():
            clean = reference or _own_references(entry)
            for path in sorted(entry.rglob("*")):
                inside = path.relative_to(entry)
                if path.suffix.lower() in EXTENSIONS and path.is_file() and not _within(path, clean) and not _within(path, out):
                    found.append((path, inside, clean and clean / inside))
        elif entry.exists():
            found.append((entry, Path(entry.name), reference and reference / entry.name))
        else:
            raise UserError(f"input {str(entry)!r} does not exist")
    if not found:
        raise UserError(f"no picture in {', '.join(map(str, inputs))}: looked for {', '.join(EXTENSIONS)}")
    taken = Counter(inside.with_suffix("") for _, inside, _ in found)
    sources, seen = [], Counter[Path]()
    for path, inside, clean_path in found:
        target = inside.with_suffix("") if taken[inside.with_suffix("")] == 1 else inside
        seen[target] += 1
        if seen[target] > 1:
            target = target.with_name(f"{target.name}_{seen[target]}")
        sources.append(Source(path, out / target, clean_path if clean_path and clean_path.is_file() else None))
    return sources


def check_output(out: Path, sources: Sequence[Source]) -> None:
    """Makes the output folder; raises UserError if it cannot be written, or a result would overwrite an input."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".{uuid.uuid4().hex}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"the output folder {str(out)!r} cannot be written: {error.strerror}") from error
    inputs = {source.path.resolve() for source in sources}
    for source in sources:
        if Path(f"{source.output}.png").resolve() in inputs:
            raise UserError(f"--out {str(out)!r} would overwrite the input {source.path}; choose another folder")


def read_picture(path: Path | IO[bytes], shape: tuple[int, int, int], fit: str) -> np.ndarray:
    """A picture as uint8 [H, W, 3] of a prior's size, upright: squashed ("resize"), or its centre ("crop").

    Raises:
        OSError, ValueError: if the file is no whole picture; the message says why.
    """
    with Image.open(path) as picture:
        upright = ImageOps.exif_transpose(picture)
    if upright.mode in ("I", "I;16", "I;16B", "I;16L", "F"):
        values = np.asarray(upright, np.float64)
        upright = Image.fromarray(np.clip(values / (257 if values.max() > 255 else 1), 0, 255).round().astype(np.uint8))
    upright = upright.convert("RGB")
    height, width, _ = shape
    if upright.size != (width, height):
        if fit == "crop":
            upright = ImageOps.fit(upright, (width, height), Image.Resampling.LANCZOS)
        else:
            upright = upright.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(upright)


def read_mask(path: Path | IO[bytes], shape: tuple[int, int, int], fit: str) -> np.ndarray:
    """A mask as bool [H, W] of a prior's size, fitted as its picture is: True where it is bright, which is what may change."""
    return read_picture(path, shape, fit).max(axis=-1) >= 128


def write_picture(picture: Image.Image, path: Path, text: PngInfo | None = None) -> None:
    """Writes a PNG, with text if there is any, under a temporary name, then renames it: there is never half a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        picture.save(temporary, "PNG", pnginfo=text)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _own_references(folder: Path) -> Path | None:
    clean = folder / "clean"
    pictures = [path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS]
    return clean if pictures and all((clean / path.name).is_file() for path in pictures) else None


def _within(path: Path, folder: Path | None) -> bool:
    return folder is not None and path.resolve().is_relative_to(folder.resolve())
