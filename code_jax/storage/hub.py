"""Repositories of the Hugging Face hub, to be read: ``hf://datasets/owner/name/folder``, ``hf://owner/name@revision``."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Any

from code_jax.errors import UserError
from code_jax.storage.storage import Content, Entry


class Hub:
    """The files of a repository; a listing is held whole, as the hub's order is not that of names."""

    def __init__(self, root: str) -> None:
        from huggingface_hub import HfFileSystem

        self._root, self._files = root, HfFileSystem()

    def put(self, name: str, data: bytes) -> str | None:
        raise self._refusal()

    def create(self, name: str, data: bytes) -> bool:
        raise self._refusal()

    def get(self, name: str, most: int) -> Content:
        try:
            entry = self.find(name)
            if entry is None:
                raise FileNotFoundError(errno.ENOENT, "there is no such file", f"{self._root}/{name}")
            if entry.size > most:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), f"{self._root}/{name}")
            return Content(self._files.cat_file(self._path(name)), entry.version)
        except OSError as error:
            raise self._told(error, name) from None

    def find(self, name: str) -> Entry | None:
        try:
            found = self._files.info(self._path(name)) if name else {"type": "directory"}
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._told(error, name) from None
        return _entry(name, found) if found["type"] == "file" else None

    def list(self, prefix: str) -> Iterator[Entry]:
        try:
            found: Any = self._files.find(self._path(prefix), detail=True)
        except OSError as error:
            raise self._told(error, prefix) from None
        root = len(self._path(""))
        entries = [_entry(path[root:].lstrip("/"), meta) for path, meta in found.items()]
        yield from sorted(entries, key=lambda entry: entry.name.encode())

    def delete(self, name: str) -> None:
        raise self._refusal()

    def clean(self, prefix: str) -> None:
        """Nothing: nothing is written."""

    def _path(self, name: str) -> str:
        return f"{self._root.removeprefix('hf://')}/{name}".rstrip("/")

    def _told(self, error: OSError, name: str) -> OSError:
        if error.filename is not None:
            return error
        return OSError(errno.EIO, f"the hub cannot be read: {(str(error).splitlines() or [''])[0][:200]}", f"{self._root}/{name}")

    def _refusal(self) -> UserError:
        return UserError(f"{self._root} is to be read from; results go to a folder, gs:// or s3://")


def open_storage(root: str) -> Hub:
    """The repository of an address."""
    return Hub(root)


def _entry(name: str, meta: Any) -> Entry:
    return Entry(name, meta.get("size") or 0, meta.get("blob_id"))
