"""Pictures in a zip archive: read one by one, each as bounded as a file's; nothing is unpacked to disk."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from code_jax.errors import UserError
from code_jax.pictures.loading import PictureError

MOST_BYTES = 2**29  # of an entry
_RATIO = 200  # pictures are compressed already; flat ones, of formats that are not, by little more
# What zipfile raises for damage, by no means BadZipFile alone.
_DAMAGE = (zipfile.BadZipFile, OSError, ValueError, EOFError, RuntimeError, struct.error, zlib.error, KeyError, IndexError)


def read_archive(path: Path, endings: frozenset[str]) -> Iterator[tuple[str, bytes | PictureError]]:
    """Names and bytes of the entries with these endings, sorted by name; instead of bytes, why they are not read.

    Raises:
        UserError: if it is no zip archive, or is made to unpack to more than 200 times its size.
    """
    if not path.is_file() or not zipfile.is_zipfile(path):
        raise UserError(f"{str(path)!r} is neither a folder nor a zip archive")
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGE as error:
        raise UserError(f"the archive {str(path)!r} is damaged or cut short: {error}") from error
    with archive:
        total, size = sum(entry.file_size for entry in archive.infolist()), path.stat().st_size
        if total > max(_RATIO * size, MOST_BYTES):
            raise UserError(f"the archive {str(path)!r} unpacks to {total} bytes, more than {_RATIO} times its size; not read")
        entries = {entry.filename: entry for entry in archive.infolist()}  # of one name the last holds, as where it is unpacked
        for name, entry in sorted(entries.items()):
            inside = PurePosixPath(name.replace("\\", "/"))
            hidden = inside.name.startswith(".") or "__MACOSX" in inside.parts
            if not hidden and inside.suffix.lower() in endings:
                yield name, _read(archive, entry, inside)


def read_entry(path: Path, name: str) -> bytes | PictureError:
    """The bytes of an entry that `read_archive` named, or why they cannot be read any more."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive, archive.getinfo(name), PurePosixPath(name.replace("\\", "/")))
    except _DAMAGE as error:
        return PictureError(f"its archive cannot be read: {error}")


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, inside: PurePosixPath) -> bytes | PictureError:
    if inside.is_absolute() or ".." in inside.parts or inside.parts[0].endswith(":"):
        return PictureError("its name leads out of the archive")
    if entry.is_dir():
        return PictureError("it is a folder")
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
        return PictureError("it is a link, or otherwise no regular file")
    if entry.flag_bits & 1:
        return PictureError("it is encrypted: pack it without a password")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return PictureError("it is compressed in a way that is not read: pack it stored or deflated")
    if entry.file_size > MOST_BYTES:
        return PictureError(f"it is larger than {MOST_BYTES >> 20} MiB")
    if entry.file_size > 2**20 and entry.file_size > _RATIO * entry.compress_size:
        return PictureError(f"it unpacks to more than {_RATIO} times its size")
    try:
        return archive.read(entry)
    except _DAMAGE as error:
        return PictureError(f"its entry is damaged: {error}")
