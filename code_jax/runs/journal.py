"""A manifest's file on a disk: a line is appended and synced, and all are rewritten at once."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

from code_jax.durable import write_durably
from code_jax.runs.held import Held
from code_jax.runs.lines import encoded


class Journal:
    """The file of a manifest, open for one run; `append` may be called from any thread.

    Args:
        path: the file.
        held: the lines that it is to hold.
    """

    def __init__(self, path: Path, held: Held) -> None:
        self._path, self._held, self._lock = path, held, threading.Lock()
        self._rewrite()
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)

    def append(self, data: bytes) -> None:
        """Adds a line.

        Raises:
            OSError: if that cannot be done, or the file has gone.
        """
        with self._lock:
            if os.fstat(self._descriptor).st_nlink == 0:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._path))
            size = os.fstat(self._descriptor).st_size
            try:
                if os.write(self._descriptor, data) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
                os.fsync(self._descriptor)
            except OSError:
                os.ftruncate(self._descriptor, size)  # not half a line
                raise

    def close(self, held: Held | None, *, whole: bool) -> None:
        """Lets the file go; after a `whole` run the lines that hold stand in it alone."""
        os.close(self._descriptor)
        if whole:
            self._rewrite()

    def _rewrite(self) -> None:
        write_durably(self._path, map(encoded, self._held))
