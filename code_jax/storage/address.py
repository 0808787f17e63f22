"""Addresses of objects and of what is below them, with a path's methods: ``gs://bucket/folder/picture.png``."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from code_jax.errors import UserError, choose
from code_jax.storage.storage import Content, Entry, Storage

_SCHEMES = {  # each with the form of its root, and the module that opens it
    "gs": (r"[^/]+", "bucket"),
    "s3": (r"[^/]+", "bucket"),
    "https": (r"[^/?#]+", "web"),
    "http": (r"(?:localhost|127\.0\.0\.1)(?::[0-9]+)?(?=[/?]|$)", "web"),
    "hf": (r"(?:(?:datasets|spaces)/)?[^/]+/[^/]+", "hub"),
    "file": (r"(?=/)", "disk"),
}
MOST_BYTES = 2**30
"""What is read of an object at most."""


@dataclasses.dataclass(frozen=True)
class Address:
    """An object, or what lies below a name.

    Attributes:
        scheme: how it is reached: gs, s3, https, hf or file.
        root: the scheme, and the bucket, host or repository.
        key: the name within; "" is all.
        query: of an https:// address, with its question mark; it may hold a signature, and is never shown.

    Example:
        >>> address = place("gs://bucket/folder") / "picture.png"
        >>> str(address), address.stem, address.relative_to(place("gs://bucket")).as_posix()
        ('gs://bucket/folder/picture.png', 'picture', 'folder/picture.png')
    """

    scheme: str
    root: str
    key: str
    query: str = dataclasses.field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.root}/{self.key}" + ("?…" if self.query else "")

    def __truediv__(self, name: str | PurePosixPath) -> Address:
        """What is below; a name that leads elsewhere is refused."""
        return dataclasses.replace(self, key="/".join(filter(None, (self.key, _checked(str(name), f"{self}/{name}")))))

    @property
    def name(self) -> str:
        return PurePosixPath(self.key).name

    @property
    def stem(self) -> str:
        return PurePosixPath(self.key).stem

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.key).suffix

    @property
    def parent(self) -> Address:
        return dataclasses.replace(self, key=self.key.rpartition("/")[0])

    def with_name(self, name: str) -> Address:
        return self.parent / name

    def absolute(self) -> Address:
        return self

    def relative_to(self, other: Address) -> PurePosixPath:
        if not self.is_relative_to(other):
            raise ValueError(f"{self} is not below {other}")
        return PurePosixPath(self.key.removeprefix(other.key).strip("/"))

    def is_relative_to(self, other: Address) -> bool:
        return self.root == other.root and f"{self.key}/".startswith(f"{other.key}/" if other.key else "")

    @property
    def is_of_bucket(self) -> bool:
        """Whether it is of a storage that can be written, in which one object's trouble is likely to be all others', too."""
        return self.scheme in ("gs", "s3", "file")

    @property
    def is_folder(self) -> bool:
        """Whether it may be more than one object; of the web it is not."""
        return not self.scheme.startswith("http")

    def mkdir(self, parents: bool = True, exist_ok: bool = True) -> None:
        """Nothing: an object needs no folder."""

    def put(self, data: bytes) -> str | None:
        return self._storage.put(self._name, data)

    def create(self, data: bytes) -> bool:
        return self._storage.create(self._name, data)

    def get(self, most: int = MOST_BYTES) -> Content:
        return self._storage.get(self._name, most)

    def find(self) -> Entry | None:
        return self._storage.find(self._name)

    def entries(self) -> Iterator[tuple[Address, Entry]]:
        """What is below, as `Storage.list` gives it."""
        for entry in self._storage.list(self.key):
            yield dataclasses.replace(self, key=entry.name), entry

    def delete(self) -> None:
        self._storage.delete(self._name)

    def clean(self) -> None:
        self._storage.clean(self.key)

    @property
    def _name(self) -> str:
        return self.key + self.query

    @property
    def _storage(self) -> Storage:
        return _opened(self.scheme, self.root)


Place = Path | Address
"""A path of a disk, or an address."""


def place(text: str | Place) -> Place:
    """What a user names: an address where it begins with a scheme, else a path.

    Raises:
        UserError: for a scheme that is not known, or an address that cannot be.
    """
    if isinstance(text, Address):
        return text
    match = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", str(text), re.DOTALL)
    if match is None:
        return Path(text)
    scheme, rest = match[1].lower(), match[2]
    form, _ = choose("address", scheme, _SCHEMES)
    head = re.match(form, rest)
    shown = f"{scheme}://{rest.partition('?')[0]}"
    if "@" in rest.partition("/")[0]:
        raise UserError(f"an address with a name or password in it ({scheme}://…@…) is not taken; give them by the environment")
    if head is None:
        remedy = {"http": "write https://", "file": "write file:///folder", "hf": "write hf://datasets/owner/name/folder"}
        raise UserError(f"{shown!r} is no address: {remedy.get(scheme, f'write {scheme}://bucket/folder')}")
    key, query = rest[head.end() :], ""
    if scheme.startswith("http"):
        key, mark, query = key.partition("#")[0].partition("?")
        query = mark + query
    elif "?" in key and "=" in key.partition("?")[2]:
        raise UserError(f"{shown!r} is followed by a query, which only https:// takes; leave it out")
    return Address(scheme, f"{scheme}://{head[0]}", _checked(key.strip("/"), shown), query)


def absolute(place: Place) -> str:
    """A place by a name that does not depend on the folder one is in."""
    return str(place) if isinstance(place, Address) else os.path.abspath(place)


def _checked(key: str, shown: str) -> str:
    """A key of whole parts, none of which climbs."""
    parts = key.split("/") if key else []
    wrong = [part for part in parts if part in ("", ".", "..") or not part.isprintable()]
    if wrong:
        raise UserError(f"{shown!r} is no address: a part of its name is {wrong[0]!r}")
    return key


@functools.lru_cache(maxsize=64)
def _opened(scheme: str, root: str) -> Storage:
    storage: Storage = importlib.import_module(f"code_jax.storage.{_SCHEMES[scheme][1]}").open_storage(root)
    return storage
