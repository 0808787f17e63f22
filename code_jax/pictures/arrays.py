"""Levels as floats in [−1, 1], and back."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, UInt, UInt8
from PIL import Image

from code_jax.errors import UserError
from code_jax.shapes import AnyArray


def from_uint8(images: UInt8[AnyArray, "*shape"]) -> Float[Array, "*shape"]:
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


def to_uint8(images: Float[ArrayLike, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Floats in [−1, 1] as the nearest levels 0..255; values outside are clipped, NaN is 0.

    Args:
        images: floating, any shape.

    Returns:
        uint8 of the same shape, on the host.

    Raises:
        UserError: for integers, which are levels already.

    Example:
        >>> to_uint8(jnp.array([-1.0, 0.0, 2.0])).tolist()
        [0, 128, 255]
    """
    dtype = getattr(images, "dtype", None)
    if dtype is not None and not jnp.issubdtype(dtype, jnp.floating):
        raise UserError(f"images are {dtype}; to_uint8 and to_pil take floats in [−1, 1]")
    return quantized(images, np.uint8)


def quantized(images: Float[ArrayLike, "*shape"], dtype: type[np.unsignedinteger]) -> UInt[np.ndarray, "*shape"]:
    """Floats in [−1, 1], any shape, as the nearest of the integers of an unsigned type; NaN is 0. Computed by NumPy, on the host.

    Example:
        >>> quantized(np.array([-1.0, 1.0]), np.uint16).tolist()
        [0, 65535]
    """
    half = np.float32(np.iinfo(dtype).max / 2)
    values = np.clip(np.nan_to_num(np.asarray(images, np.float32), nan=-1.0), -1, 1)
    return np.rint(values * half + half).astype(dtype)


def picture_of(pixels: UInt[np.ndarray, "height width channels"]) -> Image.Image:
    """Pixels uint8 [H, W, 1, 3 or 4], or uint16 [H, W, 1], as a picture of mode L, RGB, RGBA or I;16.

    Example:
        >>> picture_of(np.zeros((2, 4, 1), np.uint8)).mode
        'L'
    """
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
