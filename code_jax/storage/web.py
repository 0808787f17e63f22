"""Single files of the web, to be read: ``https://host/folder/picture.png``, with a signature if it needs one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from code_jax.errors import UserError
from code_jax.storage.bucket import CLIENT, RETRY, obstore, told
from code_jax.storage.storage import Content, Entry


class Web:
    """The files of a host; a name may be followed by a query."""

    def __init__(self, root: str) -> None:
        self._library, self._root = obstore(root), root

    def put(self, name: str, data: bytes) -> str | None:
        raise self._refusal("is to be read from; results go to a folder, gs:// or s3://")

    def create(self, name: str, data: bytes) -> bool:
        raise self._refusal("is to be read from; results go to a folder, gs:// or s3://")

    def get(self, name: str, most: int) -> Content:
        with told(self._library, self._shown(name)):
            options = CLIENT | {"allow_http": self._root.startswith("http:")}  # which an address has of this machine alone
            store = self._library.store.HTTPStore.from_url(f"{self._root}/{name}", client_options=options, retry_config=RETRY)
            found = self._library.get(store, "")
            if found.meta["size"] > most:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), self._shown(name))
            return Content(bytes(found.bytes()), found.meta["e_tag"])

    def find(self, name: str) -> Entry | None:
        """That there is one: only reading it tells, as a signature may be for that alone."""
        return Entry(name, 0, None) if name else None

    def list(self, prefix: str) -> Iterator[Entry]:
        raise self._refusal("cannot be listed; give the files one by one")

    def delete(self, name: str) -> None:
        raise self._refusal("is to be read from")

    def clean(self, prefix: str) -> None:
        """Nothing: nothing is written."""

    def _shown(self, name: str) -> str:
        return f"{self._root}/{name.partition('?')[0]}"

    def _refusal(self, reason: str) -> UserError:
        return UserError(f"{self._root} {reason}")


def open_storage(root: str) -> Web:
    """The host of an address."""
    return Web(root)
