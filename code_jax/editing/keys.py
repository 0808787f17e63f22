"""Keys of runs: an image's noise comes from the seed and its pixels, and depends on neither its name nor its neighbours."""

from __future__ import annotations

import hashlib

import jax
import numpy as np


def digest_of(pixels: np.ndarray) -> str:
    """SHA-256 of a picture as a prior sees it, uint8 [H, W, C]."""
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def image_key(seed: int, digest: str, sample: int) -> np.ndarray:
    """Words uint32 [6] that a picture's key is folded from: the seed, four words of the pixels' SHA-256, the sample."""
    return np.array([seed, *np.frombuffer(bytes.fromhex(digest)[:16], ">u4"), sample], np.uint32)


@jax.jit
def fold_keys(words: jax.Array) -> jax.Array:
    """Typed keys [B] of the words uint32 [B, 6] of `image_key`."""

    def fold(row: jax.Array) -> jax.Array:
        key = jax.random.key(row[0], impl="threefry2x32")
        for i in range(1, 6):
            key = jax.random.fold_in(key, row[i])
        return key

    return jax.vmap(fold)(words)
