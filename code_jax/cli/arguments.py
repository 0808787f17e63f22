"""Types of arguments: a mistake is one line that names the option and the value."""

from __future__ import annotations

import argparse
import math
import re

from code_jax.runs.shards import Shard


def number(text: str) -> float:
    """A float."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def numbers(text: str) -> list[float]:
    """Floats between commas."""
    return [number(part) for part in text.split(",")]


def eta(text: str) -> float:
    """A float, or none for infinity: no clipping."""
    return math.inf if text == "none" else number(text)


def count(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def shard(text: str) -> Shard:
    """I/N, the I-th of N shares."""
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is no share; write I/N with I from 1 to N, such as 1/4")
    return Shard(int(match[1]), int(match[2]))


def batch_size(text: str) -> int | str:
    """A whole number of at least 1, or auto."""
    value = text if text == "auto" else count(text)
    if isinstance(value, int) and value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of pictures; give at least 1, or auto")
    return value
