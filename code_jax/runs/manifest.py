"""``manifest.jsonl``: a line for each result or failure, from which a run that was stopped goes on.

A line is appended and synced after its picture is in place, so that every line tells of a whole file. Lines of one result
follow each other; the last holds. What no longer holds is removed, by an atomic rewrite, when the manifest is opened or closed.

Each of several processes that share the inputs has a manifest of its own (`code_jax.runs.shards`), which takes in what all the
others tell of its share when it is opened; that of the whole takes in everything, and the others go. In a bucket they write parts
of one manifest (`code_jax.runs.parts`).
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from code_jax.errors import UserError, brief
from code_jax.runs.folder import claim, claim_address
from code_jax.runs.held import Held
from code_jax.runs.journal import Journal
from code_jax.runs.lines import Line, encoded, read_lines
from code_jax.runs.parts import Parts
from code_jax.runs.shards import WHOLE, Shard, manifests
from code_jax.storage.address import Address, Place
from code_jax.storage.whole import clean

Told = Mapping[int | None, Line]
"""What a manifest tells of an input: lines by samples."""

_IDENTITY = ("seed", "samples", "micro_batch", "prior_hash", "mask_hash")


class Manifest:
    """The manifest of an output folder, or of a share of it, open for one run; `add` may be called from any thread.

    Args:
        out: the folder, locked by the share if it is on a disk.
        identity: what every line must share: ``settings`` and whatever of seed, samples, micro_batch, prior_hash and mask_hash
            there is.
        shard: the share; of everything by default.
        overwrite: forget results of another identity instead of refusing them.

    Raises:
        UserError: names the first difference to the identity of an earlier run, or the command whose folder it is; or a file
            cannot be read.
    """

    def __init__(self, out: Place, identity: Mapping[str, Any], shard: Shard = WHOLE, *, overwrite: bool = False) -> None:
        self._identity, self._whole, self._held = identity, shard.is_whole, Held()
        self._journal: Journal | Parts
        if isinstance(out, Address):
            difference = _difference(claim_address(out, "restore", identity, overwrite=overwrite), identity)
            if difference is not None:
                raise _other_settings(out, difference)
            self._journal = Parts(out)
            self._take(out, self._journal.lines(), shard, overwrite=True)  # whose they are the claim says
        else:
            claim(out, "restore")
            self._take(out, joined_lines(out), shard, overwrite=overwrite)
            self._journal = Journal(out / shard.manifest, self._held)
            if shard.is_whole:
                _remove_others(out)

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._journal.close(self._held if self._whole else None, whole=kind is None)

    @property
    def done(self) -> int:
        """Number of results that it tells of."""
        return sum(line["status"] == "done" for line in self)

    def done_of(self, name: str) -> int:
        """Number of results that it tells of an input, whatever the input is by now."""
        return sum(line["status"] == "done" for line in self.of(name).values())

    def __iter__(self) -> Iterator[Line]:
        return iter(self._held)

    def of(self, name: str) -> Told:
        """The lines of an input."""
        return self._held.of(name)

    def add(self, line: Mapping[str, Any]) -> None:
        """Adds a line; ``name`` and ``sample`` say whose it is (sample None: of the input as a whole).

        On a disk it is synced; in a bucket it may wait for others.

        Raises:
            OSError: if that cannot be done, or the file has gone.
        """
        line = dict(line) | dict(self._identity)
        self._journal.append(encoded(line))
        self._held.hold(line)

    def _take(self, out: Place, told: Iterable[Line], shard: Shard, *, overwrite: bool) -> None:
        for line in told:
            difference = _difference(line, self._identity)
            if difference is not None and not overwrite:
                raise _other_settings(out, difference)
            if difference is None and shard.holds(line["name"]):
                self._held.hold(line | dict(self._identity))


def found(told: Told, sample: int | None, file_hash: str | None) -> Line | None:
    """Of an input's lines that of a result of this content, or of the failure of its input."""
    line = told.get(sample) or told.get(None)
    return line if line is not None and line.get("file_hash") == file_hash else None


def told_lines(out: Place) -> Iterator[Line]:
    """The lines of all the manifests of a folder.

    Raises:
        UserError: if one cannot be read.
    """
    if isinstance(out, Address):
        yield from Parts(out).lines()
        return
    for path in manifests(out):
        yield from read_lines(path)


def joined_lines(out: Place) -> Held:
    """The lines of all the manifests of a folder, each result's once: the one that tells of its file as it is.

    Raises:
        UserError: if a file cannot be read.
    """
    joined = Held()
    if isinstance(out, Address):
        for line in told_lines(out):
            joined.hold(line)
        return joined
    for path in manifests(out):
        own = Held()
        for line in read_lines(path):
            own.hold(line)
        for line in own:
            rivals = joined.displaced(line)
            if line not in rivals and not any(_stands(other, out) for other in rivals):
                joined.hold(line)
    return joined


def merge(out: Place) -> tuple[int, int]:
    """Makes one manifest of those in a folder where nobody is at work, as often as one likes; (results done, inputs failed).

    Raises:
        UserError: if there is none, they are of different settings, or a process is at work.
    """
    with WHOLE.locked(out):
        lines = joined_lines(out)
        first = next(iter(lines), None)
        if first is None:
            raise UserError(f"there is no manifest in {str(out)!r}")
        for folder in {out, *((out / line["name"]).parent for line in lines)}:
            clean(folder)
        with Manifest(out, {name: first[name] for name in ("settings", *_IDENTITY) if name in first}) as manifest:
            return manifest.done, sum(line["status"] == "failed" for line in manifest)


def _remove_others(out: Path) -> None:
    """Removes what shares left; the whole is locked, so that nobody waits for it."""
    for other in manifests(out)[1:]:
        other.unlink(missing_ok=True)
        (out / f".{other.name}.lock").unlink(missing_ok=True)


def _stands(line: Line, out: Path) -> bool:
    return line["status"] == "done" and is_intact(out, line)


def names_given(out: Place) -> dict[str, str]:
    """Outputs (relative, without ending) by the inputs (absolute paths) that a folder's manifests say they are of."""
    return {line["input"]: line["name"] for line in told_lines(out)}


def is_intact(out: Place, line: Line) -> bool:
    """Whether a line's result is there as it was written: by its bytes' SHA-256, or of an object by its version."""
    place = out / line["output"]
    if isinstance(place, Address):
        found = place.find()
        return found is not None and found.version == line.get("output_version")
    try:
        if not stat.S_ISREG(os.stat(place).st_mode):
            return False
        with open(place, "rb") as file:
            return bool(hashlib.file_digest(file, "sha256").hexdigest() == line["output_hash"])
    except OSError:
        return False


def _other_settings(out: Place, difference: str) -> UserError:
    return UserError(
        f"{str(out)!r} holds results of other settings: {difference}; --overwrite replaces them, another --out keeps them"
    )


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
