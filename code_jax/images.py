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


def to_uint8(images: jax.Array) -> np.ndarray:
    """Floats in [−1, 1], any shape, as the nearest uint8; values outside are clipped.

    Example:
        >>> to_uint8(jnp.array([-1.0, 0.0, 2.0])).tolist()
        [0, 128, 255]
    """
    return np.asarray(jnp.round(jnp.clip(images, -1, 1) * 127.5 + 127.5).astype(jnp.uint8))


def from_pil(pictures: Sequence[Image.Image]) -> jax.Array:
    """PIL pictures of one size as float32 [B, H, W, 3] in [−1, 1]."""
    return from_uint8(np.stack([np.asarray(picture.convert("RGB")) for picture in pictures]))


def to_pil(images: jax.Array) -> list[Image.Image]:
    """Floats [B, H, W, 3] in [−1, 1] as PIL pictures."""
    return [Image.fromarray(image) for image in to_uint8(images)]
