"""The lines of a manifest that hold, by name and sample: in a temporary database, so that memory does not grow with them."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from typing import Any

from code_jax.runs.lines import Line

_TABLES = """
PRAGMA journal_mode=OFF;
PRAGMA synchronous=OFF;
CREATE TABLE names (id INTEGER PRIMARY KEY, name BLOB UNIQUE);
CREATE TABLE lines (id INTEGER PRIMARY KEY, name INTEGER, sample TEXT, file_hash TEXT, line TEXT);
CREATE INDEX of_name ON lines (name, sample);
"""


class Held:
    """Lines, each result's once: of lines that contradict each other, the last.

    Example:
        >>> held = Held()
        >>> for seed in (1, 2):
        ...     held.hold({"name": "a", "sample": 0, "file_hash": "x", "seed": seed})
        >>> [line["seed"] for line in held]
        [2]
    """

    def __init__(self) -> None:
        # A file without a name, which goes with the process; SQLite itself lets one thread in at a time.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript(_TABLES)

    def __del__(self) -> None:
        self._database.close()

    def hold(self, line: Line) -> None:
        """Adds a line, and removes those that no longer hold."""
        name, execute = os.fsencode(line["name"]), self._database.execute
        execute("INSERT OR IGNORE INTO names (name) VALUES (?)", (name,))
        (number,) = execute("SELECT id FROM names WHERE name = ?", (name,)).fetchone()
        where, values = self._displacing(number, line)
        execute(f"DELETE FROM lines WHERE {where}", values)
        told = number, *_keys(line), json.dumps(line)
        execute("INSERT INTO lines (name, sample, file_hash, line) VALUES (?, ?, ?, ?)", told)

    def of(self, name: str) -> dict[int | None, Line]:
        """The lines of a name by their samples."""
        number = self._number(name)
        lines = (
            json.loads(text) for (text,) in self._database.execute("SELECT line FROM lines WHERE name = ?", (number,)).fetchall()
        )
        return {line["sample"]: line for line in lines}

    def displaced(self, line: Line) -> list[Line]:
        """The lines that no longer hold if this one does: of the same result, or of another content of its input."""
        where, values = self._displacing(self._number(line["name"]), line)
        return [
            json.loads(text) for (text,) in self._database.execute(f"SELECT line FROM lines WHERE {where}", values).fetchall()
        ]

    def __len__(self) -> int:
        (count,) = self._database.execute("SELECT count(*) FROM lines").fetchone()
        return int(count)

    def __iter__(self) -> Iterator[Line]:
        """Names in the order that they came in, each with its lines."""
        for (text,) in self._database.execute("SELECT line FROM lines ORDER BY name, id"):
            yield json.loads(text)

    def _number(self, name: str) -> int:
        found = self._database.execute("SELECT id FROM names WHERE name = ?", (os.fsencode(name),)).fetchone()
        return found[0] if found else -1

    def _displacing(self, number: int, line: Line) -> tuple[str, tuple[Any, ...]]:
        """Which lines of a name a line displaces.

        Those of a name are of one content, and either of its samples or one of all of them: to look at one is enough.
        """
        one = self._database.execute("SELECT sample, file_hash FROM lines WHERE name = ? LIMIT 1", (number,)).fetchone()
        sample, file_hash = _keys(line)
        if one is not None and (one[1] != file_hash or "null" in (one[0], sample)):
            return "name = ?", (number,)
        return "name = ? AND sample = ?", (number, sample)


def _keys(line: Line) -> tuple[str, str]:
    """Sample and hash as JSON, which holds whatever a manifest may."""
    return json.dumps(line["sample"]), json.dumps(line["file_hash"])
