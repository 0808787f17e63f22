"""SIGINT and SIGTERM as a wish that work looks at, instead of an exception in the midst of it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Dropped(Exception):
    """A second signal came: the batch in flight is given up."""


class Interruption:
    """While entered, the first signal asks to stop after the batch in flight, the second within it; a third kills.

    Attributes:
        signal: the number of the first one, None before.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._urgent = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():  # elsewhere there are no signals
            self._before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def checkpoint(self) -> None:
        """Raises `Dropped` after a second signal."""
        if self._urgent:
            raise Dropped

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal = number
            with contextlib.suppress(OSError):  # not by print, in whose midst the signal may have come
                os.write(2, b"code-jax: stopping after the batch in flight; once more drops it\n")
            return
        self._urgent = True
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)
