"""Progress on stderr: what is done of all, how fast, and how long the rest takes.

On a terminal one line is written again and again; elsewhere there is a line now and then, or JSON for other programs.
"""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
import weakref
from collections.abc import Callable

FORMS = ("auto", "plain", "json", "none")
"""How progress is told: in place on a terminal and plain elsewhere, plain, a JSON object a line, not at all."""

PREPARING = "preparing: the program is compiled, or read where it was compiled before"
_A_RATE = 0.25  # seconds after the first advance before which there is no rate: of several workers some end at the same moment
_PATIENCE = 3.0  # seconds that a first advance may take before it is explained
_PAUSES = {"place": 0.1, "plain": 10.0, "json": 1.0}  # seconds between lines at least
_form = "auto"


def use(form: str) -> None:
    """Says how this process tells its progress from now on: one of `FORMS`."""
    global _form
    _form = form


class Estimate:
    """How long the rest of so many units of work will take, at the rate since the first advance, which holds the compilation.

    Args:
        total: units of work.
        clock: gives seconds that never decrease.

    Example:
        >>> seconds = iter([60.0, 61.0, 64.0])  # a minute to compile
        >>> estimate = Estimate(10, lambda: next(seconds))
        >>> [estimate.left(done) for done in (1, 2, 5)]
        [None, 8.0, 5.0]
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._clock = total, clock
        self._first: tuple[float, int] | None = None

    def left(self, done: int) -> float | None:
        """Seconds left when so many units are done; None as long as there is no rate."""
        now = self._clock()
        if done >= self._total:
            return 0.0
        if self._first is None:
            self._first = (now, done) if done else None
            return None
        since, before = self._first
        return (self._total - done) * (now - since) / (done - before) if done > before and now - since >= _A_RATE else None


class Progress:
    """Counts units of work, and says how long the rest takes.

    Args:
        total: units of work; None is not known before `expect` says.
        things: what people count, if they count anything else: so many of `noun`, each of as many units as another.
        noun: their plural.
        preparing: what to say where the first advance takes long; None is nothing.
    """

    def __init__(
        self, total: int | None, things: int | None = None, noun: str = "pictures", preparing: str | None = PREPARING
    ) -> None:  # fmt: skip
        self._done, self._noun = 0, noun
        self._estimate: Estimate | None = None
        if total is not None:
            self.expect(total, things)
        self._form = _form if _form != "auto" else "place" if sys.stderr.isatty() else "plain"
        self._said, self._width = time.monotonic(), 0
        self._estimated = self._form != "plain"
        self._begin: Callable[[], object] = lambda: None  # of the work: silence is over
        if total != 0 and preparing is not None and self._form in ("place", "plain"):
            silence = threading.Timer(_PATIENCE, _explain, [weakref.ref(self), preparing])
            silence.daemon = True
            silence.start()
            self._begin = weakref.finalize(self, silence.cancel)

    def expect(self, total: int, things: int | None = None) -> None:
        """Says how much work there is in all, what is done included; may be called from any thread."""
        self._total = max(total, 1)
        self._things, self._noun = (total, "evaluations") if things is None else (things, self._noun)
        self._estimate = Estimate(self._total, time.monotonic)

    @property
    def advanced(self) -> bool:
        """Whether any work is done."""
        return self._done > 0

    def advance(self, units: int) -> None:
        """Notes units of work as done, and says how long the rest will take."""
        self._done += units
        self._begin()
        left, now = None if self._estimate is None else self._estimate.left(self._done), time.monotonic()
        if left is None or self._form == "none":
            return
        if not self._estimated:
            self._estimated = True
            if left > 10:
                noun = self._noun.removesuffix("s") if self._things == 1 else self._noun
                print(f"about {clock(left)} to go ({self._things} {noun} in all)", file=sys.stderr)
        if now - self._said > _PAUSES[self._form] or (self._done >= self._total and self._form != "plain"):
            self._said = now
            self._say(max(left, 0.0))

    def _say(self, left: float) -> None:
        things = min(self._things * self._done // self._total, self._things)
        remaining = self._things * max(self._total - self._done, 0) / self._total
        rate = remaining / left if left else None
        if self._form == "json":
            facts = {"done": things, "total": self._things, "unit": self._noun, "per_second": rate and round(rate, 4)}
            print(json.dumps(facts | {"seconds_left": round(left, 1)}), file=sys.stderr, flush=True)
            return
        share = f"{100 * min(self._done / self._total, 1):3.0f} %"
        speed = [f"{rate:.3g} {self._noun}/s"] if rate is not None and things else []  # "0/40" and a rate would contradict
        line = ", ".join([share, f"{things}/{self._things} {self._noun}", *speed, f"{clock(left)} left"])
        if self._form == "plain":
            print(line, file=sys.stderr, flush=True)
            return
        columns = shutil.get_terminal_size().columns - 1
        line = line if len(line) <= columns else f"{share}, {clock(left)} left"[:columns]
        end = "\n" if self._done >= self._total else ""
        print(f"\r{line:{self._width}}", end=end, file=sys.stderr, flush=True)
        self._width = len(line)


def _explain(progress: weakref.ref[Progress], words: str) -> None:
    """Says why nothing has been said, unless the work has advanced or was given up."""
    waiting = progress()
    if waiting is not None and not waiting.advanced:
        print(words, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Seconds as people say them: "1 h 05 min", "2 min 10 s", "7 s"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
