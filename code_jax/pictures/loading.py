"""The one door: the bytes of a picture's file, and what Pillow loads of them. Everything else takes pictures from here."""

from __future__ import annotations

import errno
import io
import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import IO

from PIL import Image
from PIL.TiffImagePlugin import MAX_SAMPLESPERPIXEL, ImageFileDirectory_v2

from code_jax.documents import open_regular
from code_jax.errors import UserError
from code_jax.storage.address import Address, Place, place
from code_jax.storage.storage import Content

MOST_PIXELS = 11_000**2  # a tile of Sentinel-2 has 10 980²
_MOST_BYTES = 2**30
_MOST_SCANS = 20  # of a JPEG of most pixels: every one of a progressive picture's goes over all of them, however few bytes it has
# Formats known by their first bytes, and those whose first bytes say little: these are tried only where the name says so.
# EPS and WMF are left out: reading them runs other programs.
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF", "JPEG2000", "PPM", "QOI", "DDS", "PSD", "ICNS")
_BY_NAME = {"TGA", "PCX", "ICO", "SGI", "DIB", "SUN", "IM", "MSP", "XBM", "XPM"}
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys((b"heic", b"heix", b"hevc", b"heim", b"mif1", b"msf1"), "HEIC")
_OTHERS = {  # what is often taken for a picture, by its first bytes
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"%PDF": "PDF",
    b"%!PS": "PostScript",
    b"\xc5\xd0\xd3\xc6": "EPS",
    b"\xd7\xcd\xc6\x9a": "WMF",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"SIMPLE  =": "FITS",
    b"\x89HDF": "HDF5",
    b"<svg": "SVG",
    b"PK\3\4": "a zip archive",
}
_REMEDY = "convert it to PNG, JPEG or TIFF of 8 or 16 bits, gray or RGB"


class PictureError(ValueError):
    """A file that is no whole picture, or a picture that cannot be written; the message says why."""


def read_bytes(place: Place) -> bytes:
    """A regular file's bytes, or an object's; errors as `read_content`."""
    return read_content(place).data


def read_content(place: Place) -> Content:
    """A regular file's bytes, or an object's with their version.

    Raises:
        PictureError: if it cannot be read; the message says why.
        OSError: if a bucket cannot be read at all.
    """
    try:
        if isinstance(place, Address):
            return place.get(_MOST_BYTES)
        with open_regular(place) as file:  # a pipe would be waited for, a device read for ever
            size = os.fstat(file.fileno()).st_size
            if size > _MOST_BYTES:
                raise OSError(errno.EFBIG, "")
            return Content(file.read(size), None)  # what the system makes up while it is read has no size
    except PictureError:
        raise
    except UserError as error:
        raise PictureError("it is no regular file") from error
    except (OSError, ValueError) as error:  # a name may hold what no file's does
        reason = getattr(error, "errno", None)
        if isinstance(place, Address) and place.is_of_bucket and reason in (errno.ETIMEDOUT, errno.EIO, errno.EPERM):
            raise
        text = f"it is larger than {_MOST_BYTES >> 30} GiB" if reason == errno.EFBIG else getattr(error, "strerror", None)
        raise PictureError(text or str(error)) from error


@contextmanager
def in_words() -> Iterator[None]:
    """Around whatever a broken file can make fail: ends as a `PictureError` that says so in words."""
    try:
        yield
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        number = re.search(r"[0-9]+(?= pixels)", str(error))
        raise PictureError(_too_many(int(number[0]) if number else 2 * MOST_PIXELS, MOST_PIXELS)) from None
    except MemoryError:
        raise PictureError("it needs more memory than there is") from None
    except Exception as error:  # a broken file makes a decoder raise anything at all; whatever it is, the file is what is wrong
        said = str(error).partition("\n")[0] if isinstance(error, (OSError, SyntaxError)) else ""
        raise PictureError("it is damaged or cut short" + (f": {said}" if said else "")) from error


@in_words()
def load(
    data: bytes, name: str, warnings: list[str], *, animated: str = "first", most_pixels: int = MOST_PIXELS
) -> tuple[Image.Image, str]:
    """What Pillow loads of a file's bytes, not turned upright, and how its values were stored (Pillow's raw modes).

    Args:
        data: the whole file.
        name: its name, for the formats that are known by it.
        warnings: what of the file is left out is named here.
        animated: of several frames take the "first", or "refuse" the file. A thumbnail before the picture is no frame.
        most_pixels: a picture of more is refused before it is decoded.

    Raises:
        PictureError: if it is no whole picture, too large, or of a kind that is not read.
    """
    if not data:
        raise PictureError("the file is empty")
    if data.startswith(_TIFF) and _tags(data).get(277, 1) > MAX_SAMPLESPERPIXEL:
        raise PictureError(_unknown(data))  # before Pillow, which logs it
    if data.startswith(b"\x89PNG"):
        data = _without_damaged_chunks(data, warnings)
    with _opened(data, name) as picture:
        _check_size(picture, most_pixels)
        if picture.format in ("JPEG", "MPO"):
            _check_scans(picture, data.count(b"\xff\xda"))
        picture.verify()  # a PNG's checksums, which loading passes over
    picture = _opened(data, name)
    if picture.format == "TIFF":
        _pass_over_thumbnails(picture, warnings)
        _check_size(picture, most_pixels)
    if picture.format != "MPO" and getattr(picture, "is_animated", False) and picture.tell() == 0:
        if animated == "refuse":
            raise PictureError(f"it has {getattr(picture, 'n_frames', 'several')} frames")
        warnings.append("it has several frames; the first is taken")
    stored = str(getattr(picture, "tile", ()))
    picture.load()
    return picture, stored


def load_opened(picture: Image.Image) -> None:
    """Loads a picture that somebody else opened; raises PictureError where that is of a kind that files are not read of."""
    if getattr(picture, "tile", None) and picture.format not in {*_FORMATS, *_BY_NAME, "MPO"}:  # what is loaded has no tiles
        raise PictureError(f"it is {picture.format}, which is not read: {_REMEDY}")
    picture.load()


def bytes_and_name(file: str | Place | IO[bytes]) -> tuple[bytes, str]:
    """The bytes and the name of a regular file; of an open one its bytes from the start, and no name. Raises PictureError."""
    if isinstance(file, (str, Path, Address)):
        return read_bytes(place(file)), place(file).name
    file.seek(0)
    return file.read(), ""


def _opened(data: bytes, name: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=_formats(name))
    except Image.UnidentifiedImageError:
        raise PictureError(_unknown(data)) from None


def _formats(name: str) -> list[str]:
    Image.init()
    by_name = Image.registered_extensions().get(PurePath(name).suffix.lower())
    return [each for each in (*_FORMATS, *({by_name} & _BY_NAME)) if each in Image.OPEN]


def _check_size(picture: Image.Image, most: int) -> None:
    if min(picture.size) < 1:
        raise PictureError(f"the picture has no pixels: {picture.width}x{picture.height}")
    if picture.format == "JPEG2000":  # whose decoder takes four bytes a value
        most //= len(picture.getbands())
    if picture.width * picture.height > most:
        raise PictureError(_too_many(picture.width * picture.height, most))


def _check_scans(picture: Image.Image, scans: int) -> None:
    if scans * picture.width * picture.height > _MOST_SCANS * MOST_PIXELS:
        size = f"{picture.width}x{picture.height}"
        raise PictureError(f"it has {scans} scans of {size} pixels, which take too long: save it with fewer, or none progressive")


def _too_many(pixels: int, most: int) -> str:
    return f"it has {pixels / 1e6:.0f} million pixels; at most {most / 1e6:.0f} million are read"


def _pass_over_thumbnails(picture: Image.Image, warnings: list[str]) -> None:
    """Goes to a TIFF's first page whose NewSubfileType (tag 254, bit 0) does not say that it is another's reduced copy."""
    pages = getattr(picture, "n_frames", 1) if picture.tag_v2.get(254, 0) & 1 else 1  # type: ignore[attr-defined]
    for page in range(1, pages):
        picture.seek(page)
        if not picture.tag_v2.get(254, 0) & 1:  # type: ignore[attr-defined]
            warnings.append(f"its first page is a thumbnail; page {page + 1} is taken")
            return
    picture.seek(0)


def _without_damaged_chunks(data: bytes, warnings: list[str]) -> bytes:
    """A PNG without those of its ancillary chunks whose checksum is wrong: the pixels do not need them."""
    kept, damaged = [data[:8]], []
    for kind, chunk in _chunks(data):
        if kind[0] & 32 and struct.pack(">I", zlib.crc32(chunk[4:-4])) != chunk[-4:]:
            damaged.append(kind.decode("ascii", "replace"))
        else:
            kept.append(chunk)
    if not damaged:
        return data
    kinds = list(dict.fromkeys(damaged))
    named = ", ".join(kinds[:5]) + (f" and {len(kinds) - 5} more" if len(kinds) > 5 else "")
    warnings.append(f"its {named} data are damaged and left out")
    return b"".join(kept)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and whole of each of a PNG's chunks; whatever is no chunk comes as one, critical, for a decoder to judge."""
    place = 8
    while place < len(data):
        kind, end = data[place + 4 : place + 8], place + 12 + int.from_bytes(data[place : place + 4])
        whole = end <= len(data) and kind.isalpha()
        yield kind if whole else b"IDAT", data[place : end if whole else len(data)]
        place = end if whole else len(data)


def _unknown(data: bytes) -> str:
    """Why bytes that no decoder takes are not read, by what they are."""
    brands = {data[i : i + 4] for i in (8, *range(16, min(int.from_bytes(data[:4]), 64), 4))} if data[4:8] == b"ftyp" else set()
    for brand, kind in _BRANDS.items():
        if brand in brands:
            return f"it is {kind}, or a damaged one, of which the installed Pillow has no reader: convert it to PNG or JPEG"
    for start, kind in _OTHERS.items():
        if data.startswith(start):
            return f"it is {kind}, which is not read: {_REMEDY}"
    if data.startswith(_TIFF):
        return f"it is {_described(_tags(data))}, which is not read: {_REMEDY}"
    for kind in _formats(""):
        accept = Image.OPEN[kind][1]
        if accept is not None and accept(data[:16]) is True:
            return f"it begins as {kind} does, and is damaged or cut short"
    return "not a picture of a kind that can be read"


def _tags(data: bytes) -> ImageFileDirectory_v2:
    """Of a TIFF's first page; none of one that is broken."""
    header = data[:16] if 43 in data[2:4] else data[:8]
    tags = ImageFileDirectory_v2(header)
    file = io.BytesIO(data)
    file.seek(tags.next)
    tags.load(file)
    return tags


def _described(tags: ImageFileDirectory_v2) -> str:
    kinds = {1: "integers", 2: "signed integers", 3: "floats"}
    channels, bits, kind = tags.get(277, 1), tags.get(258, (1,)), tags.get(339, (1,))
    return f"a TIFF of {channels} channel{'s' * (channels != 1)} of {bits[0]}-bit {kinds.get(kind[0], 'values')}"
