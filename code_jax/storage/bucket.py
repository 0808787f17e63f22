"""Buckets of Google Cloud Storage and S3, by obstore: it signs, pages, and tries again (5xx, 408, 429, lost connections)."""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import re
from collections.abc import Iterator
from typing import Any

from code_jax.errors import UserError
from code_jax.storage.storage import Content, Entry

CLIENT: dict[str, Any] = {
    "timeout": "1h",
    "read_timeout": "120s",
    "connect_timeout": "10s",
}  # of a request, of silence, of a first answer
RETRY = {  # within three minutes; the pauses are drawn between 0.1 s and three times the last, so that outages are outlived
    "max_retries": 1000,
    "retry_timeout": datetime.timedelta(minutes=3),
    "backoff": {"init_backoff": datetime.timedelta(seconds=0.1), "max_backoff": datetime.timedelta(seconds=15), "base": 3},
}
_TRIES = 3  # to create, where no answer came: a request that is not the same when repeated is not repeated by obstore


class Bucket:
    """The objects of a bucket.

    Every write is one request with the whole object, so that a kill leaves nothing, neither a part nor an upload.
    """

    def __init__(self, root: str) -> None:
        self._library, self._root = obstore(root), root
        with self._told(""):
            options = _google() if root.startswith("gs:") else _amazon()
            self._store = self._library.store.from_url(root, **options, retry_config=RETRY)

    def put(self, name: str, data: bytes) -> str | None:
        with self._told(name):
            version: str | None = self._library.put(self._store, name, data, use_multipart=False)["e_tag"]
        return version

    def create(self, name: str, data: bytes) -> bool:
        for left in reversed(range(_TRIES)):
            try:
                with self._told(name):
                    self._library.put(self._store, name, data, mode="create", use_multipart=False)
                return True
            except FileExistsError:
                return self.get(name, 2 * len(data)).data == data
            except OSError as error:
                if error.errno != errno.ETIMEDOUT or not left:
                    raise
        raise AssertionError("unreachable")

    def get(self, name: str, most: int) -> Content:
        with self._told(name):
            found = self._library.get(self._store, name)
            if found.meta["size"] > most:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), f"{self._root}/{name}")
            return Content(bytes(found.bytes()), found.meta["e_tag"])

    def find(self, name: str) -> Entry | None:
        try:
            with self._told(name):
                return None if not name else _entry(self._library.head(self._store, name))
        except FileNotFoundError:
            return None

    def list(self, prefix: str) -> Iterator[Entry]:
        with self._told(prefix):
            for page in self._library.list(self._store, prefix or None, chunk_size=50):
                yield from map(_entry, page)

    def delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError), self._told(name):
            self._library.delete(self._store, name)

    def clean(self, prefix: str) -> None:
        """Nothing: killed writers leave nothing."""

    def _told(self, name: str) -> contextlib.AbstractContextManager[None]:
        return told(self._library, f"{self._root}/{name}")


def _google() -> dict[str, Any]:
    """Options, those for an emulator where the variable that Google's own clients read names one."""
    host = os.environ.get("STORAGE_EMULATOR_HOST")
    if not host:
        return {"client_options": CLIENT}
    key: dict[str, Any] = dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
    key |= {"type": "service_account", "gcs_base_url": host, "disable_oauth": True}
    return {"service_account_key": json.dumps(key), "client_options": CLIENT | {"allow_http": host.startswith("http:")}}


def _amazon() -> dict[str, Any]:
    return {"client_options": CLIENT | {"allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true")}}


def open_storage(root: str) -> Bucket:
    """The bucket of an address."""
    return Bucket(root)


def obstore(root: str) -> Any:
    """The library.

    Raises:
        UserError: if it is not installed.
    """
    try:
        import obstore.store
    except ImportError:
        raise UserError(f"{root} needs obstore: pip install 'code-jax[cloud]'") from None
    return obstore


@contextlib.contextmanager
def told(library: Any, where: str) -> Iterator[None]:
    """Around what obstore does: its errors, which may quote signed requests and answers, become one line without them."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "there is no such object", where) from None
    except library.exceptions.AlreadyExistsError:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), where) from None
    except (library.exceptions.BaseError, ValueError) as error:
        raise OSError(*_reason(str(error)), where) from None


def _reason(text: str) -> tuple[int, str]:
    """A number and a line for what obstore says at length."""
    if "169.254.169.254" in text or "metadata.google" in text or "token request" in text:
        return errno.EPERM, "there are no credentials that serve in the environment, nor does this machine have any"
    status = re.search(r"status code: ([0-9]{3}[ A-Za-z]*)", text)
    if status is not None:
        remedy = "; are the credentials right, and do they allow it?" if status[1][:3] in ("401", "403") else ""
        return errno.EPERM if remedy else errno.EIO, f"the storage answers {status[1].strip()}{remedy}"
    if "error sending request" in text or "timed out" in text:
        return errno.ETIMEDOUT, "the storage does not answer"
    path = re.search(r'parsing [Pp]ath "([^"\n]*)"|Path "([^"\n]*)"', text)
    if path is not None:
        return errno.EINVAL, f"a name in it is no path: {path[1] or path[2]!r}; rename it, or give a folder without it"
    return errno.EIO, re.sub(r"\w+://\S+", "…", text.splitlines()[0])[:200]


def _entry(meta: Any) -> Entry:
    return Entry(meta["path"], meta["size"], meta["e_tag"])
