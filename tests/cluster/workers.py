"""Workers that tests send to a cluster."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


class Sleeper:
    """Takes a while over each item; of "kill" it dies, of "raise" it raises, of a number of seconds it takes that long.

    It notes its process below a folder, and each item that it begins.
    """

    def __init__(self, folder: str, seconds: float, size: int = 2) -> None:
        self.size, self._seconds, self._folder = size, seconds, Path(folder)
        (self._folder / "pids").mkdir(parents=True, exist_ok=True)
        (self._folder / "pids" / str(os.getpid())).touch()

    def work(self, items: list) -> list:
        results = []
        for item in items:
            (self._folder / f"{item}-{time.monotonic_ns()}").touch()
            if item == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if item == "raise":
                raise OSError(28, "No space left on device", "gs://bucket/a.png")
            time.sleep(item if isinstance(item, float) else self._seconds)
            results.append((item, os.getpid()))
        return results


def nothing(cores: int | None) -> None:
    """What is set up for a worker that needs nothing."""
