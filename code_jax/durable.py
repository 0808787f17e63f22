"""Files that are whole or absent, whatever happens: written aside, synced, renamed, and the rename synced."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from pathlib import Path


def write_durably(path: Path, data: bytes) -> None:
    """Makes `path` hold `data`; a kill or a power cut at any moment leaves the old file, or the new one.

    The folder must exist: one that has vanished is an error, not something to make again.

    Raises:
        OSError: names `path`, if it cannot be written; nothing is left behind.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):  # where writing fails, so may this
            temporary.unlink()
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None
        raise


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files of killed writers; call it where no other writer is at work."""
    for path in folder.glob(".*.tmp"):
        if len(path.name) == len(f".{uuid.UUID(int=0).hex}.tmp"):
            path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that cannot sync a folder need not
            raise
    finally:
        os.close(descriptor)
