"""What is around every command: streams that do not break it, and each kind of end as one line and an exit status."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import signal
import sys
from collections.abc import Callable
from typing import Any

from code_jax.cli.runtime import INTERRUPTED, missing_device
from code_jax.errors import UserError, printable
from code_jax.interruption import SIGNALS, Ended, end, handled

_REMEDIES = {
    errno.ENOSPC: "make room, or choose another folder",
    errno.EDQUOT: "make room, or choose another folder",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "change its permissions, or choose another",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.EFBIG: "allow larger files (ulimit -f)",
}

_OBEYED = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def framed(command: Callable[[], int]) -> int:
    """Runs a command and returns its exit status: its own, 2 for what a user can mend, 128 and the signal's number.

    What is raised besides is a defect.
    """
    _prepare_streams()
    try:
        try:
            with handled(end, SIGNALS[1:]):  # Python raises an interrupt itself
                return command()
        finally:
            sys.stdout.flush()
    except UserError as error:
        return _say(str(error))
    except KeyboardInterrupt as error:
        print(INTERRUPTED, file=sys.stderr)
        return 128 + (error.signal if isinstance(error, Ended) else signal.SIGINT)
    except OSError as error:
        _silence(sys.stdout)  # which may be what cannot be written: Python would try again as it ends
        return _say(_words(error))
    except Exception as error:
        reason = _out_of_memory(error) or missing_device()
        if reason is None:
            raise
        return _say(reason)


def warn(message: Any) -> None:
    """A warning in one line, in place of `warnings.showwarning`."""
    print(f"code-jax: warning: {printable(str(message))}", file=sys.stderr)


class _Stdout(io.TextIOWrapper):
    """Goes on into nothing when its reader has gone: what a command does, and its status, are not what it says.

    No name of a file reaches a terminal with characters that it obeys: they are escaped, whoever prints them.
    """

    forgiven: type[OSError] = BrokenPipeError

    def write(self, text: str) -> int:
        try:
            return super().write(_OBEYED.sub(lambda match: printable(match[0]), text))
        except self.forgiven:
            _silence(self)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except self.forgiven:
            _silence(self)


class _Stderr(_Stdout):
    """Goes on into nothing when it cannot be written at all: nobody could be told."""

    forgiven = OSError


def _prepare_streams() -> None:
    """Closed ones are opened on nothing, lest a file of ours takes their number; what they cannot encode is escaped."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    for name, kind in (("stdout", _Stdout), ("stderr", _Stderr)):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
        elif stream is getattr(sys, f"__{name}__"):  # not a notebook's, or a test's
            options = {"line_buffering": stream.line_buffering, "write_through": stream.write_through}
            setattr(sys, name, kind(stream.buffer, stream.encoding, "backslashreplace", **options))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _silence(stream: Any) -> None:
    with contextlib.suppress(OSError, ValueError):  # a stream without a descriptor
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)


def _say(message: str) -> int:
    print(f"code-jax: error: {printable(message)}", file=sys.stderr)
    return 2


def _words(error: OSError) -> str:
    what = error.strerror or str(error).partition("\n")[0] or type(error).__name__
    where = "" if error.filename is None or isinstance(error.filename, int) else f"{os.fsdecode(error.filename)!r}: "
    remedy = _REMEDIES.get(error.errno or 0)
    return where + what + (f"; {remedy}" if remedy else "")


def _out_of_memory(error: Exception) -> str | None:
    if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
        return None
    details = str(error).partition("\n")[0]
    return f"out of memory{f' ({details})' if details else ''}; ask for less at a time, or for fewer results"
