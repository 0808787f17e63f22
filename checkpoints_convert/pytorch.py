"""PyTorch's files of weights (``torch.save``) without PyTorch: the zip archives of 1.6 and later, and the streams before."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from checkpoints_convert.pickles import read_pickle
from checkpoints_convert.storages import DamagedPickle, Storage, Tensor
from code_jax.documents import open_regular
from code_jax.errors import UserError, brief

SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")

_LEGACY_MAGIC, _LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_MAX_PICKLE, _MAX_NAME = 1 << 26, 1024
# Tied and expanded weights show a number more than once; a hostile file shows one a billion times.
_MAX_SHOWN, _SHOWN_FREELY = 4, 1 << 20
Select = Callable[[Any], Any]


def state_dict_of(content: Any) -> Any:
    """The state dict in what was saved: itself, or under the key "state_dict"."""
    return content["state_dict"] if isinstance(content, dict) and isinstance(content.get("state_dict"), dict) else content


def read_state_dict(path: str | Path, select: Select = state_dict_of) -> dict[str, np.ndarray]:
    """The state dict of a PyTorch file, as read-only arrays of the stored dtypes; `select` finds it in what was saved.

    The pickle inside is interpreted as data (`checkpoints_convert.pickles`): nothing in it runs. Views of one storage share its
    memory, so that the arrays take no more than the file; a zip archive's checksums are verified.

    Raises:
        UserError: names the file, and what it asks for beyond tensors and containers, or what is cut, damaged or not supported.
    """
    path = Path(path)
    try:
        with open_regular(path) as file:
            start = file.read(4)
            file.seek(0)
            size = os.fstat(file.fileno()).st_size
            if start == b"PK\x03\x04":
                return _read_zip(file, size, select)
            content, contents = read_legacy(file, size)
            return views(_checked(select(content)), contents)
    except UserError as error:
        raise UserError(f"{path} {error}") from None
    # zipfile reports damage in all of these ways.
    except (OSError, ValueError, EOFError, RuntimeError, struct.error, zipfile.BadZipFile, OverflowError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else "cut"  # zipfile quotes a header whole
        raise UserError(f"{path} is not a whole PyTorch file: {reason}") from error


def _read_zip(file: BinaryIO, size: int, select: Select) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        if any(entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size for entry in entries.values()):
            raise UserError("is a compressed archive, which torch.save never writes")
        # Entries that overlap would multiply the file's size.
        if sum(entry.file_size for entry in entries.values()) > size:
            raise DamagedPickle("its parts are larger than the whole")
        roots = [name.removesuffix("data.pkl") for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(roots) != 1:
            raise UserError("is a zip archive, but not one of torch.save: it has no data.pkl")
        root = roots[0]
        if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
            raise UserError("was written on a big-endian machine, which is not supported")
        if entries[f"{root}data.pkl"].file_size > _MAX_PICKLE:
            raise UserError(f"has a pickle of more than {_MAX_PICKLE} bytes: this is no set of weights")
        tensors = _checked(select(read_pickle(io.BytesIO(archive.read(f"{root}data.pkl")))[0]))
        contents = {}
        for storage in {tensor.storage for tensor in tensors.values()}:
            entry = entries.get(f"{root}data/{storage.key}")
            if entry is None or entry.file_size != storage.size * storage.dtype.itemsize:
                raise DamagedPickle(f"storage {brief(storage.key)} is missing or has another size than stated")
            contents[storage] = archive.read(entry)
    return views(tensors, contents)


def read_legacy(file: BinaryIO, size: int) -> tuple[Any, dict[Storage, bytes]]:
    """What was saved, and the numbers of its storages.

    Five pickles (magic number, protocol, machine, object, keys), then each storage as its length and its numbers.
    """
    file.seek(257)
    if file.read(5) == b"ustar":
        raise UserError("is in the tar format of PyTorch before 0.1.10; save it again with a later version")
    file.seek(0)
    if file.read(1) != b"\x80":
        raise DamagedPickle("it starts like none")
    file.seek(0)
    stream = io.BytesIO(file.read(min(size, _MAX_PICKLE)))
    (magic, _), (protocol, _) = read_pickle(stream), read_pickle(stream)
    if magic != _LEGACY_MAGIC or protocol != _LEGACY_PROTOCOL:
        raise UserError("is a pickle, but not one of torch.save")
    machine, _ = read_pickle(stream)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise UserError("was written on a big-endian machine, which is not supported")
    content, storages = read_pickle(stream)
    keys, _ = read_pickle(stream)
    if not isinstance(keys, list) or len(keys) != len(storages) or not all(isinstance(key, str) for key in keys):
        raise DamagedPickle("its list of storages does not fit its weights")
    file.seek(stream.tell())
    contents = {}
    for key in keys:
        storage = storages.pop(key, None)
        if storage is None:
            raise DamagedPickle(f"its list of storages names {brief(key)}, which no weight uses")
        (stated,) = struct.unpack("<q", file.read(8))
        length = storage.size * storage.dtype.itemsize
        if stated != storage.size or length > size - file.tell():
            raise DamagedPickle(f"storage {brief(key)} is cut or has another size than stated")
        contents[storage] = file.read(length)
    return content, contents


def _checked(content: Any) -> dict[str, Tensor]:
    if not isinstance(content, dict) or not content:
        raise UserError("holds no state dict")
    for name, value in content.items():
        if not isinstance(name, str) or len(name) > _MAX_NAME or not isinstance(value, Tensor):
            raise UserError(f"holds no state dict: {brief(name)} is no tensor")
    return content


def views(tensors: Mapping[str, Tensor], contents: Mapping[Storage, bytes]) -> dict[str, np.ndarray]:
    """Tensors as read-only arrays that share the storages' memory."""
    shown, stored = sum(tensor.elements for tensor in tensors.values()), sum(storage.size for storage in contents)
    if shown > _MAX_SHOWN * stored + _SHOWN_FREELY:
        raise UserError(f"shows {shown} numbers while it stores {stored}: this is no set of weights")
    state = {}
    for name, tensor in tensors.items():
        if tensor.storage not in contents:
            raise DamagedPickle(f"storage {brief(tensor.storage.key)} is missing")
        numbers = np.frombuffer(contents[tensor.storage], tensor.storage.dtype)
        # An axis of one element may state any stride.
        steps = [stride * numbers.itemsize if size > 1 else 0 for size, stride in zip(tensor.shape, tensor.strides, strict=True)]
        start = numbers[tensor.offset :] if tensor.elements else numbers[:0]
        state[name] = np.lib.stride_tricks.as_strided(start, tensor.shape, steps, writeable=False)
    return state
