"""A lock that two runs on one folder cannot both hold, and that no dead one keeps: the kernel's, on an open file."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from code_jax.durable import check_regular
from code_jax.errors import UserError, printable


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Holds the lock file `path`, which stays (removing it would let a third run in); it goes with the process, however it ends.

    shared: others may hold it likewise, but nobody alone.

    Raises:
        UserError: names the process that holds it; or the file is a link or a pipe, or the system is not POSIX.
    """
    try:
        import fcntl
    except ImportError:
        raise UserError("folders of results are locked as POSIX systems do it; on Windows, run code-jax in WSL") from None
    check_regular(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                holder = printable(os.pread(descriptor, 200, 0).decode(errors="replace").strip()) or "another process"
                raise UserError(f"{holder} is at work in {str(path.parent)!r}; wait for it, or choose another --out") from None
            print(f"code-jax: warning: {str(path)!r} cannot be locked ({error.strerror}): run once at a time", file=sys.stderr)
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        except OSError as error:  # a full disk, of which a descriptor tells no name
            error.filename = str(path)
            raise
        yield
    finally:
        os.close(descriptor)
