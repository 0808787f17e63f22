"""What a fuzzer watches of the process that it runs in: its time, its memory, what it starts, and what it writes where."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LIMIT = 10.0  # seconds of computing that one input may take
_PATIENCE = 600.0  # seconds in all, after which an input waits for what does not come: a shared machine makes anybody wait
_MEMORY = 2 << 30  # bytes of the process in all
_WRITES = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate", "shutil.rmtree"}
_STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.system"}


class Hang(BaseException):
    """Which no command takes for an error of its own."""


class Watch:
    """Counts what a process starts, and what it writes outside of a folder, from Python's audit events."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.found, self.slowest = os.path.realpath(folder), Counter[str](), 0.0
        sys.addaudithook(self._see)

    @contextlib.contextmanager
    def input(self, limit: float = LIMIT) -> Iterator[None]:
        """Raises Hang in what is entered once it has computed for `limit` seconds, or never ends."""
        begun = time.process_time()
        timers = {signal.ITIMER_PROF: (signal.SIGPROF, limit), signal.ITIMER_REAL: (signal.SIGALRM, max(limit, _PATIENCE))}
        for timer, (ends, seconds) in timers.items():
            signal.signal(ends, _end)
            signal.setitimer(timer, seconds)
        try:
            yield
        finally:
            for timer in timers:
                signal.setitimer(timer, 0)
            if limit == LIMIT:
                self.slowest = max(self.slowest, time.process_time() - begun)

    def report(self) -> bool:
        """Prints what was found; whether it is nothing, within the memory that is allowed."""
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"slowest: {self.slowest:.1f} s of computing; peak memory: {peak / 2**30:.2f} GiB")
        print("started, or written outside of the folder:", dict(self.found) or "nothing")
        return not self.found and peak < _MEMORY

    def _see(self, event: str, values: tuple[Any, ...]) -> None:
        if event in _STARTS:
            self.found[event] += 1
        writes = event == "open" and isinstance(values[2], int) and values[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        inside = event == "os.remove" and values[1] != -1  # of an open folder, as shutil.rmtree does
        if (writes or event in _WRITES) and not inside and values and isinstance(values[0], (str, bytes)):
            path = os.path.realpath(os.fsdecode(values[0]))
            if not path.startswith((self.folder, "/dev/")) and "__pycache__" not in path:
                self.found[f"{event} {path}"] += 1


def _end(number: int, _: Any) -> None:
    raise Hang(signal.Signals(number).name)
