"""A disk that keeps a storage's rules, without locks and for several writers: ``file:///folder``."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from code_jax.durable import check_regular, create_durably, remove_leftovers, write_durably
from code_jax.storage.storage import Content, Entry


class Disk:
    """Files by their absolute paths, without the first slash."""

    def put(self, name: str, data: bytes) -> str | None:
        path = _path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, data)
        return _version(os.stat(path))

    def create(self, name: str, data: bytes) -> bool:
        path = _path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return create_durably(path, data) or path.read_bytes() == data

    def get(self, name: str, most: int) -> Content:
        path = _path(name)
        if not check_regular(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"file://{path}")
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_size > most:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), f"file://{path}")
            return Content(file.read(), _version(status))

    def find(self, name: str) -> Entry | None:
        path = _path(name)
        return _entry(path) if path.is_file() else None

    def list(self, prefix: str) -> Iterator[Entry]:
        yield from _below(_path(prefix))

    def delete(self, name: str) -> None:
        _path(name).unlink(missing_ok=True)

    def clean(self, prefix: str) -> None:
        remove_leftovers(_path(prefix))


def open_storage(root: str) -> Disk:
    """The disk; there is one."""
    return Disk()


def _path(name: str) -> Path:
    return Path("/", name)


def _below(folder: Path) -> Iterator[Entry]:
    try:
        found = [(f"{each.name}/" if each.is_dir() else each.name, each.path) for each in os.scandir(folder)]
    except FileNotFoundError:
        return
    for name, path in sorted(found, key=lambda each: os.fsencode(each[0])):
        if name.endswith("/"):
            yield from _below(Path(path))
        elif os.path.isfile(path):
            yield _entry(Path(path))


def _entry(path: Path) -> Entry:
    status = os.stat(path)
    return Entry(str(path)[1:], status.st_size, _version(status))


def _version(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns}-{status.st_ino}-{status.st_size}"
