"""Types of arguments: a mistake is one line that names the option and the value."""

from __future__ import annotations

import argparse
import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from code_jax.editing import options
from code_jax.errors import UserError
from code_jax.pictures.fits import FITS
from code_jax.runs.shards import Shard
from code_jax.storage.address import Address, Place, place

MOST_AT_A_TIME = 10_000
_PICTURE = 64 * 64 * 3 * 4  # bytes of the bundled prior's
_EDIT = 0.1  # seconds of an edit by the bundled prior on two cores, 24 evaluations of 5 ms


def typed(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """A reader of text as an argument's type: its reason is what is told."""

    @functools.wraps(read)
    def reader(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return reader


number, numbers, eta, count = map(typed, (options.number, options.numbers, options.number_or_none, options.count))


def check_batch_size(value: int | str | None) -> None:
    """Raises UserError for a number of pictures on a device at a time that no device holds."""
    if isinstance(value, int) and not 1 <= value <= MOST_AT_A_TIME:
        memory = value * _PICTURE / 2**30
        needs = f": the pictures alone would take {memory:.0f} GiB at 64x64" if memory > 1 else ""
        raise UserError(f"--batch-size is {value}; it must be from 1 to {MOST_AT_A_TIME}{needs}")


def check_seed(value: int) -> None:
    """Raises UserError for a seed that no key takes."""
    if not 0 <= value < 2**32:
        raise UserError(f"--seed is {value}; it must be from 0 to {2**32 - 1}")


def check_results(option: str, value: int | None, most: int) -> None:
    """Raises UserError for a number of results of a picture, or of pictures to restore, that nobody waits for."""
    if value is not None and not 1 <= value <= most:
        days = value * _EDIT / 86400
        needs = f": at {_EDIT:g} s each they would take {days:,.0f} days" if days > 1 else ""
        raise UserError(f"{option} is {value}; it must be from 1 to {most}{needs}")


def path(text: str) -> Path:
    """The name of a file or folder; an empty one, which would mean the folder one is in, is a variable that was not set."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    return Path(text)


def add_fit(parser: Any, bounds: Any) -> None:
    """Adds how a picture meets the prior: ``--fit``, and ``--max-side`` to another group."""
    parser.add_argument("--fit", choices=tuple(FITS), default="auto", help="its own size, or the prior's (default: auto)")
    bounds.add_argument("--max-side", type=side, metavar="N", help="reduce larger pictures to N pixels first")


def side(text: str) -> int:
    """Pixels of a picture's side."""
    value = count(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} pixels are none")
    return value


def at(text: str) -> Place:
    """The name of a file or folder, or an address."""
    return typed(place)(text) if "://" in text else path(text)


def folder(text: str) -> Path:
    """A folder to write into, which may be a new one."""
    if isinstance(where := at(text), Address):
        raise argparse.ArgumentTypeError(f"{str(where)!r} is an address, and this command writes to a disk; give a folder")
    if os.path.exists(text) and not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"{text!r} is a file; choose a folder, which may be a new one")
    return path(text)


def label(text: str) -> int | None:
    """A whole number, or none."""
    return None if text == "none" else count(text)


def folder_or_address(text: str) -> Place:
    """A folder, or an address, to write into."""
    where = at(text)
    if isinstance(where, Address) and not where.is_of_bucket:
        raise argparse.ArgumentTypeError(f"{str(where)!r} is to be read from; results go to a folder, gs:// or s3://")
    return where if isinstance(where, Address) else folder(text)


def add_engine(group: Any) -> None:
    """Adds the options of what a command runs on."""
    group.add_argument("--engine", choices=("local", "ray"), default="local", help="this process, or workers of a cluster of Ray")
    group.add_argument("--address", help="of a running cluster: auto, HOST:PORT (default: one on this machine)")
    group.add_argument("--actors", type=count, metavar="N", help="workers (default: one a GPU, TPU host, or node of CPUs)")


def check_engine(args: Any) -> None:
    """Raises UserError for options that are of another engine, or that it does not take."""
    for name in ("address", "actors"):
        if args.engine == "local" and getattr(args, name) is not None:
            raise UserError(f"--{name} is of a cluster; give --engine ray, too")
    if args.engine == "ray" and args.batch_size == "auto":
        raise UserError("--batch-size auto looks at this process's devices, not a cluster's; give a number")


def shard(text: str) -> Shard:
    """I/N, the I-th of N shares."""
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is no share; write I/N with I from 1 to N, such as 1/4")
    return Shard(int(match[1]), int(match[2]))


def batch_size(text: str) -> int | str:
    """A whole number, or auto."""
    return text if text == "auto" else count(text)
