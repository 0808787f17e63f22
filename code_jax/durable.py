"""Files that are whole or absent, whatever happens: written aside, synced, renamed, and the rename synced."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

from code_jax.errors import UserError

_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp")


def write_durably(path: Path, data: bytes | str | Iterable[bytes]) -> None:
    """Makes `path` hold `data`; a kill or a power cut at any moment leaves the old file, or the new one.

    Text is written as UTF-8, names of files in it that are none byte for byte.

    The folder must exist: one that has vanished is an error, not something to make again.

    Raises:
        UserError: if `path` is a link, a pipe or a folder, which is nothing of ours to replace.
        OSError: names `path`, if it cannot be written; nothing is left behind.
    """
    check_regular(path)
    if isinstance(data, str):
        data = data.encode(errors="surrogateescape")
    _put_in_place(path, [data] if isinstance(data, bytes) else data, os.replace)


def create_durably(path: Path, data: bytes) -> bool:
    """As `write_durably`, unless there is something of this name; whether it was made."""
    try:
        _put_in_place(path, [data], _link)
    except FileExistsError:
        return False
    return True


def _link(temporary: Path, path: Path) -> None:
    os.link(temporary, path)
    temporary.unlink()


def _put_in_place(path: Path, parts: Iterable[bytes], place: Callable[[Path, Path], None]) -> None:
    """Writes a temporary file, which `place` makes the file of this name."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        place(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):  # where writing fails, so may this
            temporary.unlink()
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None
        raise


def check_regular(path: Path) -> bool:
    """Whether there is a file of this name; one that is itself a link, a pipe, a device or a folder is neither read nor replaced.

    Raises:
        UserError: names it.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(mode):
        kind = "a symbolic link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise UserError(f"{str(path)!r} is {kind}, where a file of ours belongs; move it away, or choose another folder")
    return True


def check_utf8(folder: Path) -> None:
    """Raises UserError for a folder whose name is no UTF-8: orbax neither reads nor writes there."""
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError:
        raise UserError(f"{str(folder)!r} is no UTF-8, which orbax asks of a folder's name; choose another") from None


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files of killed writers; call it where no other writer is at work."""
    for path in folder.glob(".*.tmp"):
        if _TEMPORARY.fullmatch(path.name):
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
