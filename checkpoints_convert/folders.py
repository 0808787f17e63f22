"""Folders of weights: which format a folder is in, and what it holds. A new format is a file here and a line in `_FORMATS`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from checkpoints_convert.contents import Contents
from code_jax.errors import UserError

_FORMATS = (  # modules of this package, each with its `FOLDER`; the first that knows a folder reads it
    "checkpoint",
    "diffusers",
)


class Folder(NamedTuple):
    """A format of folders.

    Attributes:
        mark: the file that a folder of this format has, in words.
        holds: whether a folder is of this format, by its files' names.
        read: what it holds; raises UserError for what is missing, damaged or not supported.
    """

    mark: str
    holds: Callable[[Path], bool]
    read: Callable[[Path], Contents]


def read_folder(folder: Path) -> Contents:
    """What a folder in any known format holds; raises UserError for others."""
    formats: list[Folder] = [importlib.import_module(f"checkpoints_convert.{name}").FOLDER for name in _FORMATS]
    for each in formats:
        if each.holds(folder):
            return each.read(folder)
    raise UserError(f"{folder} holds no prior: none of {', '.join(each.mark for each in formats)}")
