"""A manifest in a bucket: objects that are made once and numbered, each with lines in the order that they came; then compacted.

Their names carry random tokens, so that no two runs ever write one name, and what one of them compacted away is never another's.
So several runs may work on one address, without a lock; what two of them made is the same, and told of once when it is compacted.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
import time
import uuid
from collections.abc import Iterable, Iterator

from code_jax.runs.held import Held
from code_jax.runs.lines import Line, encoded, is_line, objects_in
from code_jax.storage.address import Address

_FOLDER = "manifest"
_MOST = 20_000  # lines of a part
_PAUSES = 5.0, 60.0  # seconds between parts: the least, and the most, which a hundredth of a run's time approaches


class Parts:
    """The parts below an address, open for one run; `append` may be called from any thread.

    A line waits for others for up to a minute; those that a kill takes tell of results that are made again, of the same bytes.
    """

    def __init__(self, out: Address) -> None:
        self._folder, self._lock = out / _FOLDER, threading.Lock()
        self._names: dict[str, None] = {}  # of the parts whose lines this run knows
        self._told = 0  # lines in them, those that no longer hold included
        self._waiting: list[bytes] = []
        self._begun = self._said = time.monotonic()

    def lines(self) -> Iterator[Line]:
        """The lines of all parts, one after another.

        Raises:
            OSError: if they cannot be read.
        """
        while fresh := [part for part, _ in self._folder.entries() if _is_part(part) and part.name not in self._names]:
            for part in fresh:
                self._names[part.name] = None
                with contextlib.suppress(FileNotFoundError):  # another run compacted it: the next listing has what it told
                    for line in filter(is_line, objects_in(part.get().data)):
                        self._told += 1
                        yield line

    def append(self, data: bytes) -> None:
        """Adds a line.

        Raises:
            OSError: if that cannot be done.
        """
        with self._lock:
            self._waiting.append(data)
            self._told += 1
            now = time.monotonic()
            pause = min(max(_PAUSES[0], (now - self._begun) / 100), _PAUSES[1])
            if len(self._waiting) >= _MOST or now - self._said > pause:
                self._flush()

    def close(self, held: Held | None, *, whole: bool) -> None:
        """Writes what waits; after a `whole` run whose lines these are, few parts are made of many."""
        with self._lock, contextlib.suppress(*() if whole else (OSError,)):  # what went wrong is being told
            self._flush()
        least = max(-(-len(held) // _MOST), 1) if held is not None else 0
        if whole and held is not None and (len(self._names) > least or self._told > len(held)):
            self._compact(held)

    def _compact(self, held: Held) -> None:
        before = list(self._names)
        lines = map(encoded, held)
        while part := list(itertools.islice(lines, _MOST)):
            self._create(part)
        for name in before:
            (self._folder / name).delete()
            del self._names[name]

    def _flush(self) -> None:
        if self._waiting:
            self._create(self._waiting)
            self._waiting = []
        self._said = time.monotonic()

    def _create(self, lines: Iterable[bytes]) -> None:
        last = max((int(name.partition("-")[0]) for name in self._names), default=0)
        name = f"{last + 1:08}-{uuid.uuid4().hex}.jsonl"
        if not (self._folder / name).create(b"".join(lines)):
            raise AssertionError(f"{name} is not new")
        self._names[name] = None


def _is_part(address: Address) -> bool:
    return re.fullmatch(r"[0-9]{8,12}-[0-9a-f]{32}\.jsonl", address.name) is not None
