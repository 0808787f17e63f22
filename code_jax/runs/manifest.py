"""``manifest.jsonl``: a line for each result or failure, from which a run that was stopped goes on.

A line is appended and synced after its picture is in place, so that every line tells of a whole file. Lines of one result
follow each other; the last holds. What no longer holds is removed, by an atomic rewrite, when the manifest is opened or closed.

Each of several processes that share the inputs has a manifest of its own (`code_jax.runs.shards`), which takes in what all the
others tell of its share when it is opened; that of the whole takes in everything, and the others go.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from code_jax.durable import remove_leftovers, write_durably
from code_jax.errors import UserError, brief
from code_jax.runs.folder import claim
from code_jax.runs.lines import Line, read_lines
from code_jax.runs.shards import WHOLE, Shard, manifests

_Held = dict[str, dict[int | None, Line]]  # by name and sample
_IDENTITY = ("seed", "samples", "micro_batch", "prior_hash", "mask_hash")


class Manifest:
    """The manifest of an output folder, or of a share of it, open for one run; `add` may be called from any thread.

    Args:
        out: the folder, locked by the share.
        identity: what every line must share: ``settings`` and whatever of seed, samples, micro_batch, prior_hash and mask_hash
            there is.
        shard: the share; of everything by default.
        overwrite: forget results of another identity instead of refusing them.

    Raises:
        UserError: names the first difference to the identity of an earlier run, or the command whose folder it is; or a file
            cannot be read.
    """

    def __init__(self, out: Path, identity: Mapping[str, Any], shard: Shard = WHOLE, *, overwrite: bool = False) -> None:
        self._path, self._identity, self._lock = out / shard.manifest, identity, threading.Lock()
        self._lines: _Held = {}
        claim(out, "restore")
        for line in joined_lines(out):
            difference = _difference(line, identity)
            if difference is None:
                if shard.holds(line["name"]):
                    _hold(self._lines, line | dict(identity))  # one object of all the lines
            elif not overwrite:
                raise UserError(
                    f"{str(out)!r} holds results of other settings: {difference}; "
                    "--overwrite replaces them, another --out keeps them"
                )
        self._rewrite()
        if shard.is_whole:
            for other in set(manifests(out)) - {self._path}:
                other.unlink(missing_ok=True)
                (out / f".{other.name}.lock").unlink(missing_ok=True)  # the whole is locked, so that nobody waits for it
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._descriptor)
        if kind is None:
            self._rewrite()

    @property
    def done(self) -> int:
        """Number of results that it tells of."""
        return sum(line["status"] == "done" for line in self)

    def done_of(self, name: str) -> int:
        """Number of results that it tells of an input, whatever the input is by now."""
        return sum(line["status"] == "done" for line in self._lines.get(name, {}).values())

    def __iter__(self) -> Iterator[Line]:
        return _each(self._lines)

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
            _hold(self._lines, line)

    def _rewrite(self) -> None:
        write_durably(self._path, "".join(json.dumps(line) + "\n" for line in self).encode())


def joined_lines(out: Path) -> list[Line]:
    """The lines of all the manifests of a folder, each result's once: the one that tells of its file as it is.

    Raises:
        UserError: if a file cannot be read.
    """
    joined: _Held = {}
    for path in manifests(out):
        own: _Held = {}
        for line in read_lines(path):
            _hold(own, line)
        for line in _each(own):
            rivals = _displaced(joined, line)
            if line not in rivals and not any(_stands(other, out) for other in rivals):
                _hold(joined, line)
    return list(_each(joined))


def merge(out: Path) -> tuple[int, int]:
    """Makes one manifest of those in a folder where nobody is at work, as often as one likes; (results done, inputs failed).

    Raises:
        UserError: if there is none, they are of different settings, or a process is at work.
    """
    with WHOLE.locked(out):
        lines = joined_lines(out)
        if not lines:
            raise UserError(f"there is no manifest in {str(out)!r}")
        for folder in {out, *((out / line["name"]).parent for line in lines)}:
            remove_leftovers(folder)
        with Manifest(out, {name: lines[0][name] for name in ("settings", *_IDENTITY) if name in lines[0]}) as manifest:
            return manifest.done, sum(line["status"] == "failed" for line in manifest)


def _each(held: _Held) -> Iterator[Line]:
    return (line for lines in held.values() for line in lines.values())


def _hold(held: _Held, line: Line) -> None:
    for other in _displaced(held, line):
        del held[other["name"]][other["sample"]]
    held.setdefault(line["name"], {})[line["sample"]] = line


def _displaced(held: _Held, line: Line) -> list[Line]:
    """The lines that no longer hold if this one does: of the same result, or of another content of its input.

    Those of a name are of one content, and either of its samples or one of all of them: to look at the first is enough.
    """
    others = held.get(line["name"], {})
    first = next(iter(others.values()), None)
    if first is None:
        return []
    if first["file_hash"] != line["file_hash"] or None in (first["sample"], line["sample"]):
        return list(others.values())
    return [others[line["sample"]]] if line["sample"] in others else []


def _stands(line: Line, out: Path) -> bool:
    return line["status"] == "done" and is_intact(out / line["output"], line["output_hash"])


def names_given(out: Path) -> dict[str, str]:
    """Outputs (relative, without ending) by the inputs (absolute paths) that a folder's manifests say they are of."""
    return {line["input"]: line["name"] for path in manifests(out) for line in read_lines(path)}


def is_intact(path: Path, digest: str) -> bool:
    """Whether a regular file is there and has this SHA-256."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False


def _difference(line: Line, identity: Mapping[str, Any]) -> str | None:
    before, now = _flat(line), _flat(identity)
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            return f"{name} was {_shown(before.get(name))}, is {_shown(now.get(name))}"
    return None


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and len(value) < 100 else brief(value)


def _flat(line: Mapping[str, Any]) -> dict[str, Any]:
    settings = {name: value for name, value in line["settings"].items() if name != "prior"}  # its hash is what counts
    return settings | {name: line[name] for name in _IDENTITY if name in line}
