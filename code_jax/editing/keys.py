"""Keys: one for each image of a batch.

In a run an image's comes from the seed and its pixels, and depends on neither its name nor its neighbours.
"""

from __future__ import annotations

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt8, UInt32

from code_jax.errors import UserError
from code_jax.shapes import Images, KeyPerImage, Keys


def image_keys(key: Keys, images: Images) -> KeyPerImage:
    """One typed key per image: the given ones [B], or ``fold_in(key, i)`` of a scalar key."""
    if not jnp.issubdtype(getattr(key, "dtype", np.dtype(int)), jax.dtypes.prng_key):
        raise UserError("key is not a typed PRNG key; make one with jax.random.key(seed)")
    if key.ndim == 0:
        return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(len(images)))
    if key.shape != images.shape[:1]:
        raise UserError(f"{key.shape[0]} keys for {len(images)} images; give one per image, or a scalar key")
    return key


def digest_of(pixels: UInt8[np.ndarray, "height width channels"]) -> str:
    """SHA-256 of a picture as a prior sees it, uint8 [H, W, C]."""
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def image_key(seed: int, digest: str, sample: int) -> UInt32[np.ndarray, " words"]:
    """Words uint32 [6] that a picture's key is folded from: the seed, four words of the pixels' SHA-256, the sample."""
    return np.array([seed, *np.frombuffer(bytes.fromhex(digest)[:16], ">u4"), sample], np.uint32)


@jax.jit
def fold_keys(words: UInt32[Array, "batch words"]) -> KeyPerImage:
    """Typed keys [B] of the words uint32 [B, 6] of `image_key`."""

    def fold(row: jax.Array) -> jax.Array:
        key = jax.random.key(row[0], impl="threefry2x32")
        for i in range(1, 6):
            key = jax.random.fold_in(key, row[i])
        return key

    return jax.vmap(fold)(words)
