"""The pictures below an address as its listing comes, each with a result's name of its own; few are held at a time."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from pathlib import PurePath, PurePosixPath
from typing import NamedTuple

from code_jax.errors import UserError
from code_jax.pictures.collection import EXTENSIONS
from code_jax.pictures.contact_sheet import is_sheet
from code_jax.storage.address import Address, Place

_LONGEST_NAME = 240  # bytes, which leaves room for a sample's number and an ending within the file systems' 255


class Source(NamedTuple):
    """A picture to restore.

    Attributes:
        path: where it lies.
        name: of its results, relative to the output folder and without ending.
        reference: its clean source, if there is one.
        problem: why it cannot be restored.
        version: of an object, as it was listed or read.
    """

    path: Place
    name: str
    reference: Place | None
    problem: str | None = None
    version: str | None = None


class Listed(NamedTuple):
    """A picture that a listing tells of, its path within the folder that is listed, and its version."""

    path: Address
    inside: PurePosixPath
    version: str | None


@dataclasses.dataclass(frozen=True)
class Listing:
    """The pictures of an address, listed anew each time that they are asked for.

    Results are called as `find_sources` calls them, but for names that differ by case alone, which are different here. A name
    is given as soon as no other picture can want it: listings are in order, so that those that might are neighbours.

    Attributes:
        address: an object, or a folder of them.
        out: where the results go; below the address it is passed over.
        reference: folder of clean sources, each with its input's path.
        suffix: added to the outputs' names.
    """

    address: Address
    out: Place
    reference: Place | None = None
    suffix: str = ""

    def __iter__(self) -> Iterator[Source]:
        waiting: list[_Alike] = []  # each one's stem, and a dot, begins the next one's
        for each in listed(self.address, self.out):
            name, stem = each.inside.as_posix(), each.inside.with_suffix("").as_posix()
            while waiting and not name.startswith(f"{waiting[-1].stem}."):
                yield from self._named(waiting.pop())
            for alike in waiting:
                alike.taken |= any(stem == other.inside.as_posix() for other in alike.pictures)
            if waiting and waiting[-1].stem == stem:
                waiting[-1].pictures.append(each)
            else:
                waiting.append(_Alike(stem, [each]))
        while waiting:
            yield from self._named(waiting.pop())

    def _named(self, alike: _Alike) -> Iterator[Source]:
        for path, inside, version in alike.pictures:
            plain = with_stem(inside, inside.stem + self.suffix)
            if len(alike.pictures) > 1 or is_reserved(plain):
                plain = with_stem(inside, inside.name + self.suffix)
                if alike.taken:
                    digest = hashlib.sha256(os.fsencode(inside)).hexdigest()
                    plain = with_stem(inside, f"{inside.name}{self.suffix}-{digest[:8]}")
            reference = None if self.reference is None else self.reference / inside
            yield Source(path, plain.as_posix(), reference, version=version)


@dataclasses.dataclass
class _Alike:
    """Pictures of one stem, of which more may come, and whether another's is the whole name of one of them."""

    stem: str
    pictures: list[Listed]
    taken: bool = False


def listed(address: Address, out: Place) -> Iterator[Listed]:
    """The picture at an address, or those below it, in the order of their names; what lies below `out` is passed over.

    Raises:
        UserError: if the listing is in no order, so that names cannot be given.
        OSError: if it fails.
    """
    if address.suffix.lower() in EXTENSIONS or not address.is_folder:
        entry = address.find()
        if entry is not None:
            yield Listed(address, PurePosixPath(address.name), entry.version)
            return
    last = b""
    for path, entry in address.entries():
        now = entry.name.encode()
        if now < last:
            raise UserError(f"{str(address)!r} is not listed in the order of its names; give its folders one by one")
        last = now
        own = isinstance(out, Address) and path.is_relative_to(out)
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and not own:
            yield Listed(path, path.relative_to(address), entry.version)


def is_reserved(name: PurePath) -> bool:
    """Whether a result, whose name this is without its ending, would be taken for a contact sheet."""
    return name.parent == type(name)() and is_sheet(name.name)


def with_stem(path: PurePath, name: str) -> PurePath:
    """A path with another name, shortened where file systems would not take it."""
    data = os.fsencode(name)
    if len(data) > _LONGEST_NAME:
        kept = data[: _LONGEST_NAME - 9].decode("utf-8", "ignore")
        name = f"{kept}-{hashlib.sha256(data).hexdigest()[:8]}"
    return path.with_name(name)
