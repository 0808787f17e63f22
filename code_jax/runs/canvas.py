"""A tiled picture on its canvas: pixels row after row in a square, so that few sizes compile (`code_jax.diffusion.tiling`)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from code_jax.editing.masks import feather
from code_jax.pictures.fitting import as_floats, resized

_STEP = 256  # mask sizes are rounded up to it


def canvas_side(size: tuple[int, int], image_shape: tuple[int, ...]) -> int:
    """The side of the square that holds a tiled picture's pixels: the prior's times a power of two, 256 or more.

    So few sizes compile: with a prior of 64×64 or larger, 7 for all pictures that are not refused as too large.

    Example:
        >>> canvas_side((500, 333), (64, 64, 3)), canvas_side((100, 10_000), (64, 64, 3))
        (512, 1024)
    """
    side = max(image_shape[:2])
    while side < 256 or side**2 < size[0] * size[1]:
        side *= 2
    return side


def laid(pixels: np.ndarray, side: int, channels: int) -> np.ndarray:
    """A picture uint8 or uint16 [H, W, 1 or C] as floats on its canvas, [1, side, side, C]; the rest is 0."""
    canvas = np.zeros((side * side, channels), np.float32)
    canvas[: pixels.shape[0] * pixels.shape[1]] = as_floats(pixels, channels).reshape(-1, channels)
    return canvas.reshape(1, side, side, channels)


def taken(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture [..., H, W, C] of a canvas [..., side, side, C], or of an image that is not larger than it."""
    *outer, side, _, channels = image.shape
    return image.reshape(*outer, side * image.shape[-2], channels)[..., : size[0] * size[1], :].reshape(*outer, *size, channels)


def laid_mask(mask: np.ndarray, size: tuple[int, int], side: int, window: int) -> jax.Array:
    """A mask bool [H, W] of any size as the share of the edit in a picture's result, on its canvas [side, side].

    The rim is a window's; it is found in a picture padded to a multiple of 256, so that few sizes compile.
    """
    inside = resized(mask.astype(np.uint8)[..., None] * np.uint8(255), size)[..., 0] >= 128
    padded = np.pad(inside, [(0, -length % _STEP) for length in size], "edge")
    share = np.zeros(side * side, np.float32)
    share[: size[0] * size[1]] = np.asarray(feather(padded, max(window // 16, 1)))[: size[0], : size[1]].ravel()
    return jnp.asarray(share.reshape(side, side))
