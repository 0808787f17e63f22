"""What an evaluation has measured, one file for each piece of work; what a kill leaves of them is whole.

A record's name holds the hash of everything that it depends on. So an evaluation that goes on takes what it finds under the names
it looks for, and measures the rest, whatever else is in the folder.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from code_jax.durable import check_regular, remove_leftovers, write_durably
from code_jax.errors import UserError

Record = dict[str, np.ndarray]
_DIGEST = "sha256"
_MOST_BYTES = 2**32


class Records:
    """The records in ``DIR/records``, which is made.

    Raises:
        UserError: if there are some and `resume` is False.
    """

    def __init__(self, out: Path, *, resume: bool) -> None:
        self._folder = out / "records"
        if not resume and self._folder.is_dir() and any(self._folder.glob("*.npz")):
            raise UserError(f"{str(out)!r} holds records of an evaluation; --resume goes on from them, another --out starts anew")
        self._folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self._folder)

    def path(self, label: str, facts: Mapping[str, Any]) -> Path:
        """The file of a piece of work: its label, and the hash of its facts."""
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return self._folder / f"{label}-{digest[:24]}.npz"

    def read(self, path: Path) -> Record | None:
        """The record, or None where there is none that is whole: what `write` did not write, or was changed since, is none."""
        if not check_regular(path):
            return None
        data = path.read_bytes()
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                if sum(member.file_size for member in archive.infolist()) > _MOST_BYTES:
                    return None
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                record = {name: arrays[name] for name in arrays.files}
        except Exception:  # a broken archive makes its readers raise anything at all; whatever it is, this is no record
            return None
        told = record.pop(_DIGEST, None)
        return record if told is not None and np.array_equal(told, _digest(record)) else None

    def write(self, path: Path, record: Record) -> None:
        """Writes it; a kill leaves all of it or nothing."""
        file = io.BytesIO()
        np.savez_compressed(file, **record, **{_DIGEST: _digest(record)})  # type: ignore[arg-type]
        write_durably(path, file.getvalue())


def _digest(record: Record) -> np.ndarray:
    """SHA-256 of names, dtypes, shapes and values, uint8 [32]."""
    digest = hashlib.sha256()
    for name, array in sorted(record.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return np.frombuffer(digest.digest(), np.uint8)
