"""A line of a manifest, as a file or an object that anybody may have written holds it."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from code_jax.documents import is_whole, parse
from code_jax.durable import check_regular
from code_jax.errors import UserError
from code_jax.storage.address import Address, Place

Line = dict[str, Any]

_LONGEST = 2**20  # bytes


def encoded(line: Line) -> bytes:
    """A line as a manifest has it."""
    return (json.dumps(line) + "\n").encode()


def read_lines(path: Path) -> Iterator[Line]:
    """The whole lines of a manifest of `restore`; whatever else is in the file is passed over.

    Raises:
        UserError: if the file cannot be read.
    """
    return filter(is_line, read_objects(path))


def read_objects(place: Place) -> Iterator[Line]:
    """The JSON objects that are lines of a file, if it is there; what a kill or a full disk left of one is passed over.

    Raises:
        UserError: if the file cannot be read.
    """
    try:
        if isinstance(place, Address):
            with contextlib.suppress(FileNotFoundError):
                yield from objects_in(place.get().data)
        elif check_regular(place):
            with open(place, "rb") as file:
                yield from _objects(file)
    except OSError as error:
        raise UserError(f"{str(place)!r} cannot be read: {error.strerror}") from error


def objects_in(data: bytes) -> Iterator[Line]:
    """The JSON objects that are lines of these bytes, as `read_objects` gives them."""
    return _objects(io.BytesIO(data))


def _objects(file: BinaryIO) -> Iterator[Line]:
    while text := file.readline(_LONGEST):
        try:
            line = parse(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict):
            yield line


def is_inside(value: Any) -> bool:
    """Whether a JSON value is a path, relative to a folder, of something in it."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    path = PurePosixPath(value)
    return bool(path.name) and not path.is_absolute() and ".." not in path.parts


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) < 1e300 or abs(value) == float("inf")  # the PSNR of equal pictures


def _is_number_or_null(value: Any) -> bool:
    return value is None or _is_number(value)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "input": _is_text,
    "name": is_inside,
    "status": ("done", "failed").__contains__,
    "sample": lambda value: value is None or is_whole(value),
    "file_hash": lambda value: value is None or _is_text(value),
    "settings": lambda value: isinstance(value, dict),
}
_FIELDS_OF = {"done": {"output": is_inside, "output_hash": _is_text, "file_hash": _is_text}, "failed": {"error": _is_text}}
_OPTIONAL: dict[str, Callable[[Any], bool]] = {
    "psnr": _is_pair,
    "bits": lambda value: value is None or _is_pair(value),
    "bits_error": lambda value: value is None or _is_pair(value),
    "micro_batch": lambda value: is_whole(value) and value > 0,
    "nfe": is_whole,
    "input_version": _is_text,
    "output_version": _is_text,
} | dict.fromkeys(("psnr_input", "psnr_codec", "diversity", "squared_score", "clipped", "seconds"), _is_number_or_null)


def is_line(line: Line) -> bool:
    """Whether an object is a line of `restore`; its paths lead nowhere out of the folder."""
    if not all(name in line and holds(line[name]) for name, holds in _FIELDS.items()):
        return False
    needed = _FIELDS_OF[line["status"]]
    return all(name in line and holds(line[name]) for name, holds in needed.items()) and all(
        holds(line[name]) for name, holds in _OPTIONAL.items() if name in line
    )
