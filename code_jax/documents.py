"""Regular files and the JSON documents in them, read within bounds: what a stranger wrote neither hangs nor fills memory."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from code_jax.errors import UserError

_MAX_BYTES, _MAX_NESTING, _MAX_DIGITS = 1 << 22, 16, 300


def open_regular(path: str | Path) -> BinaryIO:
    """Opens a file for reading; a pipe, a device or a socket, of which reading may never end, is refused without a wait.

    Raises:
        UserError: if `path` is no regular file, nor a link to one.
        OSError: if it is absent or cannot be opened.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise UserError(f"{path} is not a regular file")
    # The file may have been exchanged since: a pipe without a writer would hold a plain open for ever.
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise UserError(f"{path} is not a regular file")
    return file


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, of a file as `read_document` reads it.

    Raises:
        UserError: names the file and what is wrong with it.
    """
    content = read_document(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object")
    return content


def read_document(path: Path) -> Any:
    """What a regular file of at most 4 MiB holds as JSON, nested at most 16 deep.

    Raises:
        UserError: names the file and what is wrong with it.
    """
    text = read_text(path)
    try:
        content = parse(text)
    except (RecursionError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    level: list[Any] = [[content]]
    for _ in range(_MAX_NESTING + 1):
        values = (node.values() if isinstance(node, dict) else node for node in level)
        level = [value for group in values for value in group if isinstance(value, (dict, list))]
    if level:
        raise UserError(f"{path} is nested deeper than {_MAX_NESTING} levels: this is no config")
    return content


def read_text(path: Path) -> str:
    """What a regular file of at most 4 MiB holds as UTF-8.

    Raises:
        UserError: names the file and what is wrong with it.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > _MAX_BYTES:
                raise UserError(f"{path} is larger than {_MAX_BYTES} bytes: this is no config, and no table")
            return file.read(size).decode("utf-8")  # what the system makes up while it is read has no size
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def parse(text: str | bytes) -> Any:
    """What a text says as JSON, whose whole numbers a float can hold.

    Raises:
        ValueError: for what is no JSON, or not UTF-8, and for a number of over 300 digits.
        RecursionError: for what is nested too deep.
    """
    return json.loads(text, parse_int=_whole)


def is_whole(value: Any, least: int = 0, most: float = 2**64 - 1) -> bool:
    """Whether a value is a whole number from least to most; true and false are none.

    Example:
        >>> is_whole(3), is_whole(True), is_whole(3.0), is_whole(3, most=2)
        (True, False, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _whole(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)
