"""What commands that measure pictures print: a line for each, as a table or as JSON objects; failures on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from code_jax.errors import printable
from code_jax.progress import Progress, use

if TYPE_CHECKING:
    from code_jax.runs.gauge import Reading

Facts = dict[str, Any]


def told(
    readings: Iterable[Reading], facts_of: Callable[[Any], Facts | None], total: int, form: str, broken: str
) -> Iterator[Facts]:
    """A line of facts for each reading, with progress on stderr, where failures are named.

    Args:
        readings: what was measured.
        facts_of: what there is to say of the values; None where they are not finite.
        total: of the readings.
        form: of the progress, as it was asked for.
        broken: what is said of values that are not finite.
    """
    if form == "auto" and sys.stdout.isatty():
        use("none")  # the lines tell it
    progress = Progress(total, total)
    for reading in readings:
        facts = None if reading.failure is not None else facts_of(reading.values)
        line: Facts = {"input": os.path.abspath(reading.source.path)}
        if facts is None:
            line |= {"status": "failed", "error": reading.failure or broken}
            print(printable(f"code-jax: failed {str(reading.source.path)!r}: {line['error']}"), file=sys.stderr)
        else:
            line |= {"status": "done", "hash": reading.digest} | facts
        yield line
        progress.advance(1)


def print_objects(lines: Iterable[Facts], common: Mapping[str, Any]) -> int:
    """Prints each line as a JSON object, with what they have in common; 1 if one failed."""
    failed = 0
    for line in lines:
        failed += line["status"] == "failed"
        print(json.dumps(line | dict(common)), flush=True)
    return 1 if failed else 0


def print_table(lines: Iterable[Facts], head: str, row: Callable[[Facts], str], end: Callable[[list[Facts], int], str]) -> int:
    """Prints a row for each line that is done, before its path, and what `end` says of all and of failures; 1 if one failed."""
    done: list[Facts] = []
    failed = 0
    for line in lines:
        if line["status"] == "failed":
            failed += 1
            continue
        if not done:
            print(f"{head}  picture")
        done.append(line)
        print(printable(f"{row(line)}  {line['input']}"), flush=True)
    if done:
        print(end(done, failed))
    return 1 if failed else 0
