"""Progress on stderr: evaluations done and time left, in place on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
import weakref

PREPARING = "preparing: the program is compiled, or read where it was compiled before"
_PATIENCE = 3.0  # seconds that a first advance may take before it is explained


class Progress:
    """Counts units of work; the first advance (which holds the compilation) is left out of the rate."""

    def __init__(self, total: int) -> None:
        self._total, self._done = max(total, 1), 0
        self._begun = self._counted_from = time.monotonic()
        self._counted_at = 0
        self._said = self._begun
        self._estimated = False
        silence = threading.Timer(_PATIENCE, _explain, [weakref.ref(self)])
        silence.daemon = True
        if total:
            silence.start()

    @property
    def advanced(self) -> bool:
        """Whether any work is done."""
        return self._done > 0

    def advance(self, units: int) -> None:
        """Notes units of work as done, and says how long the rest will take."""
        self._done += units
        now = time.monotonic()
        if not self._counted_at:
            self._counted_from, self._counted_at = now, self._done
            return
        rate = (self._done - self._counted_at) / max(now - self._counted_from, 1e-9)
        left = (self._total - self._done) / rate
        if not self._estimated:
            self._estimated = True
            if left > 10:
                print(f"about {clock(left)} to go ({self._total} evaluations of a batch in all)", file=sys.stderr)
        line = f"{100 * self._done / self._total:3.0f} %, {clock(left)} left"
        if sys.stderr.isatty():
            print(f"\r{line}  ", end="\n" if self._done >= self._total else "", file=sys.stderr, flush=True)
        elif now - self._said > 10:
            self._said = now
            print(line, file=sys.stderr, flush=True)


def _explain(progress: weakref.ref[Progress]) -> None:
    """Says why nothing has been said, unless the work has advanced or was given up."""
    waiting = progress()
    if waiting is not None and not waiting.advanced:
        print(PREPARING, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Seconds as people say them: "1 h 05 min", "2 min 10 s", "7 s"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
