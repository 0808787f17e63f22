"""A tiled picture on its canvas: pixels row after row in a square, so that few sizes compile (`code_jax.diffusion.tiling`).

Restored coarse to fine (`code_jax.editing.pyramid`), a picture is on a canvas at each of its levels, one after the other.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from code_jax.diffusion.tiling import tiled, window_starts
from code_jax.editing.masks import RIM, feather
from code_jax.editing.pyramid import Pyramid, Size, level_sizes
from code_jax.pictures.fitting import as_floats, resized
from code_jax.priors.prior import Prior

_STEP = 256  # mask sizes are rounded up to it


class Placed(NamedTuple):
    """What `code_jax.edit` takes of a picture on its canvas: the denoiser, images [1, side, side, C], and a mask [side, side]."""

    denoiser: Any
    images: jax.Array
    mask: Any


def place(prior: Prior, image: np.ndarray, share: np.ndarray | None, chunk: int, sharding: NamedSharding | None = None) -> Placed:
    """A picture on its canvas.

    Args:
        prior: whose windows it is tiled with.
        image: floats [H, W, C], at least of the prior's size.
        share: of the edit in the result, floats [H, W]; None is all of it.
        chunk, sharding: as of `code_jax.tiled`.
    """
    size, side = image.shape[:2], canvas_side(image.shape[:2], prior.image_shape)
    denoiser = tiled(prior, (size[0], size[1]), canvas=side, chunk=chunk, sharding=sharding)
    mask = None if share is None else jnp.asarray(_laid(share[..., None], side)[..., 0])
    return Placed(denoiser, jnp.asarray(_laid(image, side)[None]), mask)


def pyramid_of(pixels: np.ndarray, mask: np.ndarray | None, image_shape: tuple[int, int, int], fit: str) -> Pyramid:
    """The levels of a picture uint8 or uint16 [H, W, 1 or C], of which there is one unless the fit is "pyramid".

    mask: bool of any size, where it may change; the rim is that of a window.
    """
    size = pixels.shape[0], pixels.shape[1]
    share = None if mask is None else _share(mask, size, image_shape[0])
    return Pyramid.of(as_floats(pixels, image_shape[2]), sizes_of(size, image_shape, fit), share)


def sizes_of(size: Size, image_shape: tuple[int, ...], fit: str) -> list[Size]:
    """(H, W) of the levels of a picture, coarsest first."""
    return level_sizes(size, (image_shape[0], image_shape[1])) if fit == "pyramid" else [size]


def windows_of(size: Size, image_shape: tuple[int, ...]) -> int:
    """How many windows a picture is tiled with.

    Example:
        >>> windows_of((64, 96), (64, 64, 3)), windows_of((512, 768), (64, 64, 3))
        (2, 345)
    """
    rows, columns = (len(window_starts(length, side)) for length, side in zip(size, image_shape[:2], strict=True))
    return rows * columns


def canvas_side(size: tuple[int, ...], image_shape: tuple[int, ...]) -> int:
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


def taken(image: Any, size: tuple[int, ...]) -> np.ndarray:
    """The picture [..., H, W, C] of a canvas [..., side, side, C], or of an image that is not larger than it."""
    *outer, height, width, channels = image.shape
    flat = np.asarray(image).reshape(*outer, height * width, channels)
    return flat[..., : size[0] * size[1], :].reshape(*outer, *size, channels)


def _laid(image: np.ndarray, side: int) -> np.ndarray:
    """Floats [H, W, C] on a canvas [side, side, C]; the rest is 0."""
    canvas = np.zeros((side * side, image.shape[2]), np.float32)
    canvas[: image.shape[0] * image.shape[1]] = image.reshape(-1, image.shape[2])
    return canvas.reshape(side, side, image.shape[2])


def _share(mask: np.ndarray, size: Size, window: int) -> np.ndarray:
    """A mask bool of any size as the share of the edit in a picture's result, float32 [H, W].

    Its rim is found in a picture padded to a multiple of 256, so that few sizes compile.
    """
    inside = resized(mask.astype(np.uint8)[..., None] * np.uint8(255), size)[..., 0] >= 128
    padded = np.pad(inside, [(0, -length % _STEP) for length in size], "edge")
    return np.asarray(feather(padded, max(window // RIM, 1)), np.float32)[: size[0], : size[1]]
