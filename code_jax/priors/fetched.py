"""Priors of buckets: their files are downloaded once, then kept in the cache."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from code_jax.cache import cache_folder
from code_jax.errors import UserError
from code_jax.storage.address import Address

_MOST_BYTES = 2**36  # of a file


def fetched(address: Address) -> Path:
    """A folder with the files below an address; where one of them has changed, another one.

    Raises:
        UserError: if there is nothing.
        OSError: if it cannot be read.
    """
    entries = sorted(address.entries(), key=lambda each: each[1].name)
    if not entries:
        raise UserError(f"there is nothing below {str(address)!r}; give the address of a prior's folder")
    told = "\n".join([str(address), *(f"{entry.name} {entry.size} {entry.version}" for _, entry in entries)])
    folder = cache_folder() / "priors" / f"fetched--{hashlib.sha256(told.encode()).hexdigest()[:32]}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=folder.parent))  # and renamed: a kill, or another process, leaves no half of it
    try:
        for path, _ in entries:
            file = aside / path.relative_to(address)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(path.get(_MOST_BYTES).data)
        aside.rename(folder)
    except OSError:
        shutil.rmtree(aside)
        if not folder.is_dir():
            raise
    return folder
