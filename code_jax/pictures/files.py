"""Files of pictures: which ones are, read and written whole."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from code_jax.durable import write_durably
from code_jax.pictures.decode import Picture, PictureError, decode_picture
from code_jax.pictures.fitting import eight_bits, fitted

EXTENSIONS = frozenset(
    [".png", ".apng", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".avif", ".heic", ".heif"]
) | {".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".qoi"}
_MOST_BYTES = 2**31


def read_bytes(path: Path) -> bytes:
    """A regular file's bytes.

    Raises:
        PictureError: if it cannot be read; the message says why.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, a device read for ever
            raise PictureError("it is no regular file")
        if status.st_size > _MOST_BYTES:
            raise PictureError("it is larger than 2 GiB")
        return path.read_bytes()
    except OSError as error:
        raise PictureError(error.strerror or str(error)) from error


def read_picture(path: str | Path | IO[bytes], shape: tuple[int, int, int] | None, fit: str) -> np.ndarray:
    """A picture as uint8 [H, W, C] as a prior of `shape` [H, W, C] sees it, upright, fitted as `fitting.FITS` says.

    Without a shape it has its own size and colour's three channels.

    Raises:
        PictureError: if the file is no whole picture; the message says why.
    """
    pixels = open_picture(path).pixels
    return eight_bits(pixels, 3) if shape is None else eight_bits(fitted(pixels, shape, fit), shape[2])


def open_picture(path: str | Path | IO[bytes]) -> Picture:
    """A file's picture; errors as `read_picture`."""
    if isinstance(path, (str, Path)):
        return decode_picture(read_bytes(Path(path)), Path(path).name)
    return decode_picture(path.read())


def read_mask(path: Path | IO[bytes], shape: tuple[int, int, int], fit: str) -> np.ndarray:
    """A mask as bool [H, W] of a prior's size, fitted as its picture is: True where it is bright, which is what may change."""
    return read_picture(path, shape, fit).max(axis=-1) >= 128


def write_picture(picture: Image.Image, path: Path, text: PngInfo | None = None) -> None:
    """Writes a PNG, with text if there is any, making its folder: there is never half a picture."""
    file = io.BytesIO()
    picture.save(file, "PNG", pnginfo=text)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, file.getvalue())
