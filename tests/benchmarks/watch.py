"""What a fuzzer watches of the process that it runs in: its time, its memory, what it starts, and what it writes where."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from code_jax.cli.main import main as code_jax
from tests.runs.conftest import exact_prior

LIMIT = 10.0  # seconds of computing that one input may take
_PATIENCE = 600.0  # seconds in all, after which an input waits for what does not come: a shared machine makes anybody wait
_MEMORY = 2 << 30  # bytes of the process in all
_WRITES = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate", "shutil.rmtree"}
_STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.system"}


class _Hang(BaseException):
    """Which no command takes for an error of its own."""


class Watch:
    """Counts what inputs end in, and what the process starts and writes outside of a folder, from Python's audit events.

    Args:
        folder: to work in.
        told: other folders that an input names for what it writes.
    """

    def __init__(self, folder: Path, *told: str) -> None:
        self.ends, self._found = Counter[str](), Counter[str]()
        self._folders = tuple(f"{each}/" for each in (os.path.realpath(folder), "/dev", *told))
        self._inputs, self._faults = 0, Counter[str](tracebacks=0, hangs=0)
        self._computed = self._waited = self._begun = 0.0
        self._waits = Counter[str]()  # where the process was when an input had taken the limit by the clock
        sys.addaudithook(self._see)

    @contextlib.contextmanager
    def input(self, what: str, limit: float = LIMIT) -> Iterator[None]:
        """Counts and prints whatever is raised in what is entered, and ends it once it has computed for `limit` seconds."""
        computed, self._begun = time.process_time(), time.monotonic()
        timers = {signal.ITIMER_PROF: (signal.SIGPROF, _end), signal.ITIMER_REAL: (signal.SIGALRM, self._wait)}
        for timer, (ends, handler) in timers.items():
            signal.signal(ends, handler)
            signal.setitimer(timer, limit, limit)
        self._inputs += 1
        try:
            yield
        except (_Hang, Exception) as error:
            self._faults["hangs" if isinstance(error, _Hang) else "tracebacks"] += 1
            print(f"input {self._inputs}, {what}:")
            traceback.print_exc(file=sys.stdout)
        finally:
            for timer in timers:
                signal.setitimer(timer, 0)
            if limit == LIMIT:
                self._computed = max(self._computed, time.process_time() - computed)
                self._waited = max(self._waited, time.monotonic() - self._begun)

    def command(self, what: str, *words: str, limit: float = LIMIT) -> int:
        """Runs a command line as an input named `what`; its status is counted. It says lines without control characters."""
        status = -1
        with self.input(f"{what}: {' '.join(words)}", limit):
            shown, said = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(said):
                status = code_jax(words)
            lines = said.getvalue().splitlines()
            errors = [line for line in lines if line.startswith("code-jax: error: ")]
            assert errors == lines[-1:] if status == 2 else not errors and status in (0, 1), (status, lines[-5:])
            assert (shown.getvalue() + said.getvalue()).replace("\n", "").replace("\r", "").isprintable(), "control characters"
            self.ends[f"{what} {('done', 'failed', 'refused')[status]}"] += 1
        return status

    def report(self) -> bool:
        """Prints what was found; whether it is nothing, within the memory that is allowed."""
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for end, number in sorted(self.ends.items()):
            print(f"{end}: {number}")
        print(f"{self._inputs} reads: {', '.join(f'{number} {kind}' for kind, number in self._faults.items())}")
        print(
            f"the longest: {self._computed:.1f} s of computing, {self._waited:.1f} s by the clock; over {LIMIT:g} s by the clock:"
        )
        print("\n".join(f"    {number} in {where}" for where, number in self._waits.most_common(5)) or "    none")
        print(f"peak memory: {peak / 2**30:.2f} GiB; started, or written outside of the folder:", dict(self._found) or "nothing")
        return not self._found and not self._faults.total() and peak < _MEMORY

    def _wait(self, number: int, frame: Any) -> None:
        if time.monotonic() - self._begun > _PATIENCE:
            _end(number, frame)
        calls = [f"{each.name} ({Path(each.filename).name}:{each.lineno})" for each in traceback.extract_stack(frame)[-3:]]
        self._waits[" > ".join(calls)] += 1

    def _see(self, event: str, values: tuple[Any, ...]) -> None:
        if event in _STARTS:
            self._found[event] += 1
        writes = event == "open" and isinstance(values[2], int) and values[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        inside = event in ("os.remove", "os.rmdir") and values[1] != -1  # of an open folder, as shutil.rmtree does
        if (writes or event in _WRITES) and not inside and values and isinstance(values[0], (str, bytes)):
            path = os.path.realpath(os.fsdecode(values[0]))
            if not f"{path}/".startswith(self._folders) and "__pycache__" not in path:
                self._found[f"{event} {path}"] += 1


def cache_in(folder: Path) -> Any:
    """While entered, what is kept for the next time is kept in a folder."""
    return mock.patch.dict(os.environ, {"XDG_CACHE_HOME": str(folder / "cache")})


def with_prior(prior: Any) -> Any:
    """While entered, every prior is this one."""
    return mock.patch("code_jax.priors.load.load_prior", lambda name, **options: prior)


@contextlib.contextmanager
def exact(folder: Path) -> Iterator[None]:
    """As `cache_in`, and every prior is one that computes in no time."""
    with with_prior(exact_prior()), cache_in(folder):
        yield


def _end(number: int, _: Any) -> None:
    raise _Hang(signal.Signals(number).name)
