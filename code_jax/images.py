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
    """uint8 in 0..255, any shape, as float32 in [−1, 1].

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
    """Floats in [−1, 1], any shape, as the nearest uint8; values outside are clipped.

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
    """PIL pictures of one size as float32 [B, H, W, 3] in [−1, 1]."""
    return from_uint8(np.stack([np.asarray(picture.convert("RGB")) for picture in pictures]))


def to_pil(images: jax.Array) -> list[Image.Image]:
    """Floats [B, H, W, 3] in [−1, 1] as PIL pictures."""
    return [Image.fromarray(image) for image in to_uint8(images)]
