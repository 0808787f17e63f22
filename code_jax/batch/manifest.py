"""``manifest.jsonl``: a line for each result or failure, from which a run that was stopped goes on.

A line is appended and synced after its picture is in place, so that every line tells of a whole file. Lines of one result
follow each other; the last holds. What no longer holds is removed, by an atomic rewrite, when the manifest is opened or closed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any

from code_jax.durable import write_durably
from code_jax.errors import UserError

NAME = "manifest.jsonl"
Line = dict[str, Any]
_IDENTITY = ("seed", "samples", "micro_batch", "prior_hash", "mask_hash")


class Manifest:
    """The manifest of an output folder, open for one run; `add` may be called from any thread.

    Args:
        path: the file; made if there is none.
        identity: what every line must share: ``settings`` and whatever of seed, samples, micro_batch, prior_hash and mask_hash
            there is.
        overwrite: forget results of another identity instead of refusing them.

    Raises:
        UserError: names the first difference to the identity of an earlier run; or the file cannot be read.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self._path, self._identity, self._lock = path, identity, threading.Lock()
        self._lines: dict[str, dict[int | None, Line]] = {}
        for line in read_lines(path):
            difference = _difference(line, identity)
            if difference is None:
                self._hold(line)
            elif not overwrite:
                raise UserError(
                    f"{str(path.parent)!r} holds results of other settings: {difference}; "
                    "--overwrite replaces them, another --out keeps them"
                )
        self._rewrite()
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._descriptor)
        if kind is None:
            self._rewrite()

    @property
    def done(self) -> int:
        """Number of results that it tells of."""
        return sum(line["status"] == "done" for lines in self._lines.values() for line in lines.values())

    def find(self, name: str, sample: int | None, file_hash: str | None) -> Line | None:
        """The line of a result of this content, or of the failure of its input."""
        lines = self._lines.get(name, {})
        line = lines.get(sample) or lines.get(None)
        return line if line is not None and line.get("file_hash") == file_hash else None

    def add(self, line: Mapping[str, Any]) -> None:
        """Appends a line and syncs it; ``name`` and ``sample`` say whose it is (sample None: of the input as a whole).

        Raises:
            OSError: if that cannot be done, or the file has gone.
        """
        line = dict(line) | dict(self._identity)
        data = (json.dumps(line) + "\n").encode()
        with self._lock:
            if os.fstat(self._descriptor).st_nlink == 0:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._path))
            size = os.fstat(self._descriptor).st_size
            try:
                if os.write(self._descriptor, data) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
                os.fsync(self._descriptor)
            except OSError:
                os.ftruncate(self._descriptor, size)  # not half a line
                raise
            self._hold(line)

    def _hold(self, line: Line) -> None:
        lines = self._lines.setdefault(line["name"], {})
        of_another_content = any(other["file_hash"] != line["file_hash"] for other in lines.values())
        if of_another_content or line["sample"] is None or None in lines:
            lines.clear()
        lines[line["sample"]] = line

    def _rewrite(self) -> None:
        lines = (line for lines in self._lines.values() for line in lines.values())
        write_durably(self._path, "".join(json.dumps(line) + "\n" for line in lines).encode())


def read_lines(path: Path) -> Iterator[Line]:
    """The whole lines of a manifest; what a kill or a full disk left of one is passed over.

    Raises:
        UserError: if the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            for text in file:
                try:
                    line = json.loads(text)
                except ValueError:
                    continue
                if _is_line(line):
                    yield line
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be read: {error.strerror}") from error


def names_given(path: Path) -> dict[str, str]:
    """Outputs (relative, without ending) by the inputs (absolute paths) that a manifest says they are of."""
    return {line["input"]: line["name"] for line in read_lines(path)}


def is_intact(path: Path, digest: str) -> bool:
    """Whether a file is there and has this SHA-256."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False


def _is_line(value: Any) -> bool:
    """Whether a JSON value is a line of a manifest; its name leads nowhere out of the folder."""
    if not isinstance(value, dict):
        return False
    texts = ("input", "name", "status") + (("output", "output_hash", "file_hash") if value.get("status") == "done" else ())
    if not all(isinstance(value.get(name), str) for name in texts) or not isinstance(value.get("settings"), dict):
        return False
    paths = [PurePosixPath(value[name]) for name in ("name", "output") if isinstance(value.get(name), str)]
    inside = all(path.name and not path.is_absolute() and ".." not in path.parts for path in paths)
    return inside and isinstance(value.get("sample"), int | None) and isinstance(value.get("file_hash"), str | None)


def _difference(line: Line, identity: Mapping[str, Any]) -> str | None:
    before, now = _flat(line), _flat(identity)
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            return f"{name} was {before.get(name)}, is {now.get(name)}"
    return None


def _flat(line: Mapping[str, Any]) -> dict[str, Any]:
    settings = {name: value for name, value in line["settings"].items() if name != "prior"}  # its hash is what counts
    return settings | {name: line[name] for name in _IDENTITY if name in line}
