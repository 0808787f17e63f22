"""Collections of pictures: a folder searched in depth, or a zip archive."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from code_jax.errors import UserError
from code_jax.pictures.archive import read_archive, read_entry
from code_jax.pictures.contact_sheet import is_sheet
from code_jax.pictures.decode import Picture, decode_picture
from code_jax.pictures.loading import PictureError, read_bytes

EXTENSIONS = frozenset(
    [".png", ".apng", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".avif", ".heic", ".heif"]
) | {".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".qoi"}


def read_collection(source: Path) -> Iterator[tuple[str, Picture | PictureError]]:
    """Relative names and pictures of a folder or archive, in order; instead of a picture, why it is none.

    Raises:
        UserError: if it is neither.
    """
    if not os.path.lexists(source):
        raise UserError(f"{str(source)!r} does not exist: give a folder or zip archive of pictures")
    for name, data in _files(source):
        try:
            yield name, data if isinstance(data, PictureError) else decode_picture(data, name)
        except PictureError as error:
            yield name, error


def read_one(source: Path, name: str) -> Picture:
    """One picture of a folder or archive by the name that `read_collection` gave it; raises PictureError if it cannot be read."""
    if source.is_dir():
        return decode_picture(read_bytes(source / name), name)
    data = read_entry(source, name)
    if isinstance(data, PictureError):
        raise data
    return decode_picture(data, name)


def find_pictures(
    folder: Path, passed_over: Container[Path] = (), above: tuple[Path, ...] = ()
) -> Iterator[tuple[Path, str | None]]:
    """Pictures below a folder in order, links to folders followed; each with what is wrong with it, if anything is.

    Args:
        folder: where to search.
        passed_over: real paths of folders that are not searched.
        above: real paths of the folders that it was found in.
    """
    real = folder.resolve()
    if real in above:
        yield folder, "a link that leads back to a folder above it"
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        yield folder, error.strerror
        return
    written = os.path.isfile(folder / "manifest.jsonl")  # by a command of ours, whose sheet is no picture to restore
    for entry in entries:
        if os.path.isdir(entry):
            if entry.resolve() not in passed_over:
                yield from find_pictures(entry, passed_over, (*above, real))
        elif written and entry.suffix == ".png" and is_sheet(entry.stem):
            continue
        elif entry.suffix.lower() in EXTENSIONS and not entry.name.startswith("."):
            yield entry, None


def held_instead(folders: Iterable[Path]) -> str:
    """What a message says of folders without pictures: what they hold, by ending, and the endings of pictures."""
    walks = itertools.chain.from_iterable(os.walk(folder) for folder in folders)
    endings = Counter(Path(name).suffix.lower() or "without ending" for _, _, names in walks for name in names)
    held = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(5)) or "no file"
    return f"there is {held}; pictures end in {', '.join(sorted(EXTENSIONS))}"


def _files(source: Path) -> Iterator[tuple[str, bytes | PictureError]]:
    if not source.is_dir():
        yield from read_archive(source, EXTENSIONS)
        return
    for path, problem in find_pictures(source):
        name = str(path.relative_to(source))
        try:
            yield name, read_bytes(path) if problem is None else PictureError(problem)
        except PictureError as error:
            yield name, error
