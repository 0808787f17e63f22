"""Pictures and masks from files, and PNGs written whole."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from code_jax.pictures.decode import Picture, decode_picture
from code_jax.pictures.fitting import eight_bits, fitted, with_alpha, within
from code_jax.pictures.loading import MOST_PIXELS, PictureError, bytes_and_name
from code_jax.storage.address import Place
from code_jax.storage.whole import write


def read_picture(
    path: str | Place | IO[bytes], shape: tuple[int, int, int] | None, fit: str, max_side: int | None = None
) -> np.ndarray:
    """A picture as uint8 [H, W, C] as a prior of `shape` [H, W, C] sees it, upright, `fitted` after it is brought `within`.

    Without a shape it has its own size and colour's three channels.

    Raises:
        PictureError: if the file is no whole picture, or has not what four channels need; the message says why.
    """
    picture = open_picture(path)
    if shape is None:
        return eight_bits(picture.pixels, 3)
    pixels = within(with_alpha(picture.pixels, picture.alpha, shape[2]), max_side)
    return eight_bits(fitted(pixels, shape, fit), shape[2])


def size_of(path: Path) -> tuple[int, int] | None:
    """(H, W) of a file's picture by its header, which may be turned; None where that cannot be read."""
    try:
        with Image.open(path) as picture:
            return picture.height, picture.width
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def open_picture(path: str | Place | IO[bytes], most_pixels: int = MOST_PIXELS) -> Picture:
    """A file's picture; errors as `read_picture`."""
    return decode_picture(*bytes_and_name(path), most_pixels=most_pixels)


def read_mask(path: str | Place | IO[bytes], shape: tuple[int, int, int], fit: str, most_pixels: int = MOST_PIXELS) -> np.ndarray:
    """The `fitted_mask` of a file; errors as of `read_picture`, too."""
    return fitted_mask(open_picture(path, most_pixels), shape, fit)


def fitted_mask(picture: Picture, shape: tuple[int, int, int], fit: str) -> np.ndarray:
    """A mask as bool [H, W], fitted as its picture is, for "auto" as it is: True where it is bright, which is what may change.

    Where all its colours are one, its transparency is the mask: True where it is opaque. A mask of 0 and one other value is True
    where it is not 0.

    Raises:
        PictureError: if it marks nothing, or colours and transparency contradict each other.
    """
    levels = eight_bits(_marks(picture.pixels.max(axis=2, keepdims=True), picture.alpha), 1)
    mask = fitted(levels, shape, "tile" if fit == "auto" else fit)[..., 0] >= 128
    if not mask.any():
        raise PictureError(f"what it marks vanishes at the prior's size, {shape[1]}x{shape[0]}: mark more")
    return mask


def _marks(values: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """Levels uint8 or uint16 [H, W, 1] of a mask, bright where it marks, of its colours' largest values and its transparency."""
    half = np.iinfo(values.dtype).max // 2 + 1
    if alpha is not None and alpha.min() < alpha.max():
        if values.min() == values.max():
            return alpha[..., None]
        if np.any((values >= half) & (alpha[..., None] < 128)):
            raise PictureError("its colours mark what its transparency hides: save it without transparency")
    if values.max() >= half:
        return values
    marked = values > 0
    if not marked.any():
        raise PictureError("it is black and marks nothing: it must be white where the picture may change")
    if marked.all() or np.ptp(values[marked]):
        raise PictureError(f"it marks nothing: its values, {values.min()} to {values.max()}, are all below {half}; white marks")
    return np.where(marked, 255, 0).astype(np.uint8)


def write_picture(picture: Image.Image, path: Place, text: PngInfo | None = None) -> None:
    """Writes a PNG, with text if there is any, making its folder: there is never half a picture."""
    file = io.BytesIO()
    picture.save(file, "PNG", pnginfo=text)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, file.getvalue())
