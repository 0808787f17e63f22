"""How a picture of any size meets a prior of one size, and how the result goes back."""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image

from code_jax.pictures.arrays import from_uint8, picture_of
from code_jax.pictures.fits import OWN_SIZE, size_within
from code_jax.pictures.loading import PictureError

Box = tuple[int, int, int, int]  # left, top, right, bottom


def within(pixels: np.ndarray, most: int | None) -> np.ndarray:
    """A picture [H, W, C], reduced to its `size_within`."""
    return resized(pixels, size_within(pixels.shape[:2], most))


def region(shape: tuple[int, ...], image_shape: tuple[int, ...], fit: str) -> Box:
    """What of a picture [H, W, ...] a prior is shown: all of it, or for "crop" the largest centre of the prior's proportions.

    Example:
        >>> region((100, 300, 3), (64, 64, 3), "crop"), region((100, 300, 3), (64, 64, 3), "resize")
        ((100, 0, 200, 100), (0, 0, 300, 100))
    """
    height, width = shape[:2]
    if fit != "crop":
        return 0, 0, width, height
    scale = min(height / image_shape[0], width / image_shape[1])
    inner_height, inner_width = max(round(image_shape[0] * scale), 1), max(round(image_shape[1] * scale), 1)
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    return left, top, left + inner_width, top + inner_height


def fitted(pixels: np.ndarray, image_shape: tuple[int, ...], fit: str) -> np.ndarray:
    """A picture [H, W, C] as a prior sees it: of its size, or of its own (`OWN_SIZE`), mirrored at its edges where smaller."""
    left, top, right, bottom = region(pixels.shape, image_shape, fit)
    if fit not in OWN_SIZE:
        return resized(pixels[top:bottom, left:right], (image_shape[0], image_shape[1]))
    missing = [max(least - have, 0) for least, have in zip(image_shape[:2], pixels.shape[:2], strict=True)]
    return np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), "symmetric")


def resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture uint8 [H, W, C] or uint16 [H, W, 1], resampled (Lanczos) to size (H, W)."""
    if pixels.shape[:2] == size:
        return pixels
    height, width = size
    if pixels.dtype == np.uint8:
        scaled = np.asarray(picture_of(pixels).resize((width, height), Image.Resampling.LANCZOS))
        return scaled.reshape(height, width, pixels.shape[2])
    channels = [Image.fromarray(channel.astype(np.float32)) for channel in np.moveaxis(pixels, 2, 0)]
    scaled = np.stack([np.asarray(channel.resize((width, height), Image.Resampling.LANCZOS)) for channel in channels], axis=2)
    return np.rint(np.clip(scaled, 0, 65535)).astype(np.uint16)


def eight_bits(pixels: np.ndarray, channels: int) -> np.ndarray:
    """A picture as uint8 [H, W, channels], gray from colour and colour from gray where it has another number of them."""
    if pixels.dtype == np.uint16:
        pixels = np.rint(pixels / 257).astype(np.uint8)
    if pixels.shape[2] == channels:
        return pixels
    assert channels in (1, 3) and pixels.shape[2] in (1, 3), "a fourth is not invented: `with_alpha`"
    if channels == 1:
        return np.rint(luminance(pixels)).astype(np.uint8)
    return pixels.repeat(channels, axis=2)


def with_alpha(pixels: np.ndarray, alpha: np.ndarray | None, channels: int) -> np.ndarray:
    """A picture as a prior of so many channels is to see it: its pixels; for four uint8 [H, W, 4], transparency the fourth.

    Raises:
        PictureError: for four channels where nothing is transparent, and for a number that no picture has.
    """
    if channels in (1, 3):
        return pixels
    if channels != 4:
        raise PictureError(f"the prior's pictures have {channels} channels; a picture has 1 (gray), 3 (RGB) or 4 (RGBA)")
    if alpha is None:
        raise PictureError("the prior's pictures have four channels and it has no transparency to be the fourth: save it as RGBA")
    return np.concatenate([eight_bits(pixels, 3), alpha[..., None]], axis=2)


def as_floats(pixels: np.ndarray, channels: int) -> np.ndarray:
    """A picture uint8 or uint16 as float32 [H, W, channels] in [−1, 1]; of 8 bits exactly what `code_jax.from_uint8` gives.

    On the host, so that no size compiles anything.
    """
    if pixels.dtype == np.uint16:
        return np.repeat(pixels / np.float32(32767.5) - 1, channels // pixels.shape[2], axis=2)
    return _levels()[eight_bits(pixels, channels)]


@functools.cache
def _levels() -> np.ndarray:
    return np.asarray(from_uint8(np.arange(256, dtype=np.uint8)))


def luminance(pixels: np.ndarray) -> np.ndarray:
    """0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), [..., 3] -> [..., 1]."""
    return np.asarray(pixels @ np.array([[0.299], [0.587], [0.114]], np.float32))
