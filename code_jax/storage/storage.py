"""What every storage keeps: whole objects, put, created, read, listed and deleted; none is renamed, locked or swapped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol


class Entry(NamedTuple):
    """An object: its name, its bytes' number, and a text that changes whenever it does; None where there is none to be had."""

    name: str
    size: int
    version: str | None


class Content(NamedTuple):
    """The bytes of an object, and the version that they are of."""

    data: bytes
    version: str | None


class Storage(Protocol):
    """Objects by names, whose parts stand between slashes; of a name there is at any time a whole object, or none.

    Every method raises OSError, whose ``filename`` is the object's address without what is secret of it and whose ``strerror``
    is one line, where the storage refuses or does not answer after several tries; UserError for what it never does.
    """

    def put(self, name: str, data: bytes) -> str | None:
        """Makes `name` hold `data`, whatever it held; the new version."""

    def create(self, name: str, data: bytes) -> bool:
        """Makes `name` hold `data` if there is no such object; whether it is this call's.

        `data` is to be the caller's alone, by a random token in it: what is there already and equal to it was made by a try of
        this call whose answer got lost.
        """

    def get(self, name: str, most: int) -> Content:
        """The whole object; FileNotFoundError if there is none, OSError (EFBIG) if it has more than `most` bytes."""

    def find(self, name: str) -> Entry | None:
        """What there is of a name."""

    def list(self, prefix: str) -> Iterator[Entry]:
        """The objects below a prefix, a whole number of parts ("" is all), by the order of their names' bytes, as they come."""

    def delete(self, name: str) -> None:
        """Removes an object, if there is one."""

    def clean(self, prefix: str) -> None:
        """Removes what killed writers left beside the objects directly below a prefix, where no other writer is at work."""
