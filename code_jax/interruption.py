"""The signals that ask a process to end: as an exception, or as a wish that work looks at instead."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType, TracebackType
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextlib.contextmanager
def handled(handler: Callable[[int, FrameType | None], None], numbers: Sequence[int] = SIGNALS) -> Iterator[None]:
    """While entered, `handler` gets the signals that ask a process to end; a hang-up that nohup had it ignore stays ignored."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():  # elsewhere there are no signals
        ignored = {number for number in SIGNALS[2:] if signal.getsignal(number) == signal.SIG_IGN}
        before = {number: signal.signal(number, handler) for number in numbers if number not in ignored}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


class Ended(KeyboardInterrupt):
    """A signal ends the process, as an interrupt does: what is half made is taken away on the way out.

    Attributes:
        signal: its number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


def end(number: int, frame: FrameType | None) -> None:
    """A handler that raises `Ended`; the next signal of this kind kills."""
    signal.signal(number, signal.SIG_DFL)
    raise Ended(number)


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
        self._handled = handled(self._receive)

    def __enter__(self) -> Interruption:
        self._handled.__enter__()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._handled.__exit__(kind, error, trace)

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
        for each in SIGNALS:
            if signal.getsignal(each) == self._receive:
                signal.signal(each, signal.SIG_DFL)
