"""Pictures as arrays: PIL images and uint8 to floats in [−1, 1], and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from code_jax.errors import UserError


def from_uint8(images: Any) -> jax.Array:
    """Levels as floats in [−1, 1]: x = level/127.5 − 1.

    Args:
        images: uint8, any shape.

    Returns:
        float32 of the same shape, in [−1, 1].

    Raises:
        UserError: for another dtype.

    Example:
        >>> from_uint8(np.array([0, 255], np.uint8)).tolist()
        [-1.0, 1.0]
    """
    if getattr(images, "dtype", None) != np.uint8:
        raise UserError(f"images are {getattr(images, 'dtype', type(images).__name__)}; from_uint8 takes uint8 arrays")
    return jnp.asarray(images, jnp.float32) / 127.5 - 1


def to_uint8(images: jax.typing.ArrayLike) -> np.ndarray:
    """Floats in [−1, 1] as the nearest levels 0..255; values outside are clipped, NaN is 0.

    Args:
        images: floating, any shape.

    Returns:
        uint8 of the same shape, on the host.

    Example:
        >>> to_uint8(jnp.array([-1.0, 0.0, 2.0])).tolist()
        [0, 128, 255]
    """
    return quantized(images, np.uint8)


def quantized(images: jax.typing.ArrayLike, dtype: type[np.unsignedinteger]) -> np.ndarray:
    """Floats in [−1, 1], any shape, as the nearest of the integers of an unsigned type; NaN is 0. Computed by NumPy, on the host.

    Example:
        >>> quantized(np.array([-1.0, 1.0]), np.uint16).tolist()
        [0, 65535]
    """
    half = np.float32(np.iinfo(dtype).max / 2)
    values = np.clip(np.nan_to_num(np.asarray(images, np.float32), nan=-1.0), -1, 1)
    return np.rint(values * half + half).astype(dtype)


def from_pil(pictures: Sequence[Image.Image]) -> jax.Array:
    """PIL pictures as a batch of images.

    Args:
        pictures: B pictures of one size, of any mode that converts to RGB.

    Returns:
        float32 [B, H, W, 3] in [−1, 1].

    Raises:
        UserError: for none at all, or pictures of several sizes.

    Example:
        >>> from_pil([Image.new("RGB", (4, 2), "white")]).shape
        (1, 2, 4, 3)
    """
    sizes = sorted({picture.size for picture in pictures})
    if len(sizes) != 1:
        raise UserError(f"{len(pictures)} pictures of sizes {sizes}; give one or more, all of one size")
    return from_uint8(np.stack([np.asarray(picture.convert("RGB")) for picture in pictures]))


def to_pil(images: jax.Array) -> list[Image.Image]:
    """Images as PIL pictures.

    Args:
        images: floating [B, H, W, 3], in [−1, 1]; values outside are clipped.

    Returns:
        B pictures of mode RGB.

    Example:
        >>> to_pil(jnp.ones((1, 2, 4, 3)))[0].size
        (4, 2)
    """
    return [Image.fromarray(image) for image in to_uint8(images)]
