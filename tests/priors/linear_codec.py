"""A codec that is exact: blocks of 2×2 pixels as channels, turned by an orthogonal matrix and scaled."""

from __future__ import annotations

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np


class Blocks(flax.struct.PyTreeNode):
    """Latents [h, w, 4C] of pictures [2h, 2w, C] whose values lie in [−1, 1].

    Attributes:
        matrix: [4C, 4C].
        latent_shape: of one picture, static.
    """

    matrix: jax.Array
    latent_shape: tuple[int, int, int] = flax.struct.field(pytree_node=False)

    @classmethod
    def of(cls, shape, gain=1.0, key=0):
        height, width, channels = shape
        turned, _ = np.linalg.qr(np.random.default_rng(key).standard_normal((4 * channels, 4 * channels)))
        return cls(jnp.asarray(gain * turned, jnp.float32), (height // 2, width // 2, 4 * channels))

    def encode(self, images):
        batch, height, width, channels = images.shape
        blocks = images.reshape(batch, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
        return blocks.reshape(batch, height // 2, width // 2, 4 * channels) @ self.matrix

    def decode(self, latents):
        batch, height, width, channels = latents.shape
        blocks = (latents @ jnp.linalg.inv(self.matrix)).reshape(batch, height, width, 2, 2, channels // 4)
        return jnp.clip(blocks.transpose(0, 1, 3, 2, 4, 5).reshape(batch, 2 * height, 2 * width, channels // 4), -1, 1)

    def shrink(self, mask):
        batch, height, width, _ = mask.shape
        return mask.reshape(batch, height // 2, 2, width // 2, 2, 1).max((2, 4))
