"""PIL pictures as batches of images, and back."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from PIL import Image

from code_jax.errors import UserError
from code_jax.pictures.arrays import picture_of, to_uint8
from code_jax.pictures.decode import from_pillow
from code_jax.pictures.fitting import as_floats, with_alpha
from code_jax.pictures.loading import PictureError, in_words, load_opened
from code_jax.pictures.metadata import upright
from code_jax.shapes import GivenImages


def from_pil(pictures: Image.Image | Sequence[Image.Image], channels: int = 3) -> Float[Array, "batch height width {channels}"]:
    """PIL pictures as a batch of images, read as ``code-jax restore`` reads files: upright, in sRGB.

    Args:
        pictures: one, or B of one size; of any mode. Floats and integers take the narrowest of the ranges 0..1 (floats), 0..255,
            0..65535 that holds them, or are stretched.
        channels: of the images: 1 (gray), 3 (RGB), or 4 (RGBA, of pictures with transparency).

    Returns:
        float32 [B, H, W, channels] in [−1, 1].

    Raises:
        UserError: for none at all, pictures of several sizes, and what cannot be read; it names the picture and its mode.

    Example:
        >>> from_pil(Image.new("RGB", (4, 2), "white")).shape, from_pil([Image.new("L", (4, 2))] * 5, channels=1).shape
        ((1, 2, 4, 3), (5, 2, 4, 1))
    """
    given = [pictures] if isinstance(pictures, Image.Image) else list(pictures)
    images = [_image(picture, number, channels) for number, picture in enumerate(given)]
    sizes = sorted({picture.size for picture in given})
    if len(sizes) != 1:
        raise UserError(f"{len(given)} pictures of sizes {sizes}; give one or more, all of one size")
    return jnp.asarray(np.stack(images))


def to_pil(images: GivenImages) -> list[Image.Image]:
    """Images as PIL pictures.

    Args:
        images: floating [B, H, W, C], in [−1, 1], C of 1, 3 or 4; values outside are clipped.

    Returns:
        B pictures of mode L, RGB or RGBA.

    Raises:
        UserError: for integers, and another shape.

    Example:
        >>> to_pil(jnp.ones((1, 2, 4, 3)))[0].size
        (4, 2)
    """
    if jnp.ndim(images) != 4 or jnp.shape(images)[3] not in (1, 3, 4):
        raise UserError(f"images have shape {jnp.shape(images)}; to_pil takes [B, H, W, C] with 1, 3 or 4 channels")
    return [picture_of(image) for image in to_uint8(images)]


def _image(picture: Image.Image, number: int, channels: int) -> np.ndarray:
    if not isinstance(picture, Image.Image):
        raise UserError(f"picture {number} is of type {type(picture).__name__}; from_pil takes PIL pictures")
    try:
        with in_words():
            load_opened(picture)
            pixels, alpha, _ = from_pillow(upright(picture))
            return as_floats(with_alpha(pixels, alpha, channels), channels)
    except PictureError as error:
        raise UserError(f"picture {number}, of mode {picture.mode}, cannot be read: {error}") from error
