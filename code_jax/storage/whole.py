"""Whole files and objects read and written, wherever they lie."""

from __future__ import annotations

from code_jax.durable import remove_leftovers, write_durably
from code_jax.storage.address import Address, Place


def write(place: Place, data: bytes) -> str | None:
    """Makes a file or object hold `data`, as `write_durably` does: it is whole or absent, whatever happens; an object's version.

    Raises:
        OSError: names what cannot be written.
    """
    if isinstance(place, Address):
        return place.put(data)
    write_durably(place, data)
    return None


def clean(folder: Place) -> None:
    """Removes what killed writers left in a folder; call it where no other writer is at work."""
    if isinstance(folder, Address):
        folder.clean()
    else:
        remove_leftovers(folder)
