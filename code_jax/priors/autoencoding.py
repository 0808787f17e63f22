"""The codec of a latent prior: an autoencoder and its weights, and the range of the latents that it makes of pictures."""

from __future__ import annotations

import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from code_jax.devices.one_by_one import one_by_one
from code_jax.diffusion.codec import decoded, encoded
from code_jax.errors import UserError, brief
from code_jax.models.networks import Autoencoder
from code_jax.priors.prior import Prior
from code_jax.shapes import GivenImages, Images, Latents

Shape = tuple[int, int, int]
_AT_A_TIME = 4  # pictures that are measured


class Autoencoding(flax.struct.PyTreeNode):
    """A codec (`code_jax.diffusion.codec.Codec`) of a network, always in float32, whose error an edit of all pixels shares.

    Attributes:
        params: the network's weights.
        network: an autoencoder of `code_jax.models`, static.
        latent_shape: (h, w, c) of one picture's latents, static.
        shards: of a batch that it answers for one picture at a time (`code_jax.devices.one_by_one`), static.
    """

    params: Any
    network: Autoencoder = flax.struct.field(pytree_node=False)
    latent_shape: Shape = flax.struct.field(pytree_node=False)
    shards: int = flax.struct.field(pytree_node=False, default=0)

    def apart(self, shards: int) -> Autoencoding:
        """The same codec, which answers for one picture of each shard at a time."""
        return self.replace(shards=shards)

    def encode(self, images: Images) -> Latents:
        """Latents [B, h, w, c] of pictures [B, H, W, C] in [−1, 1]: the mean of their distribution, where they have one."""
        return self._apply(images, "encode")

    def decode(self, latents: Latents) -> Images:
        """Pictures in [−1, 1] of latents."""
        return jnp.clip(self._apply(latents, "decode"), -1, 1)

    def _apply(self, x: Images, method: str) -> Latents:
        made: Any = one_by_one(lambda each: _apply(self.network, self.params, each, method), self.shards, x)
        return made

    def shrink(self, mask: Float[Array, "batch height width 1"]) -> Float[Array, "batch rows columns 1"]:
        """The greatest share within each latent's pixels, [B, h, w, 1], of shares [B, H, W, 1]."""
        factor = self.network.config.factor
        batch, height, width, _ = mask.shape
        return mask.reshape(batch, height // factor, factor, width // factor, factor, 1).max((2, 4))


@functools.partial(jax.jit, static_argnums=(0, 3))  # a program that asks in several places traces the network once
def _apply(network: Autoencoder, params: Any, x: Images, method: str) -> Latents:
    output: Any = network.apply({"params": params}, x, method=method)
    return output


def picture_shape(network: Autoencoder, latents: Shape) -> Shape:
    """(H, W, C) of the pictures whose latents have a shape.

    Raises:
        UserError: for an autoencoder of other latents.
    """
    config, (height, width, channels) = network.config, latents
    if config.channels != channels or config.in_channels != config.out_channels:
        raise UserError(
            f"the autoencoder makes latents of {config.channels} channels, and the network takes {channels}: "
            "these are parts of two models"
        )
    return height * config.factor, width * config.factor, config.out_channels


def measure_range(prior: Prior, images: GivenImages, share: float = 1.0) -> Prior:
    """The latent prior with the range of its latents, which clipping and thresholding need, measured on clean pictures.

    R of a channel is the least that this share of the pictures' latents lie within, |z| ≤ R. It is what 1 is to pixels: clipping
    is to R + ησ (van Delft et al. 2024, Proposition 1), and R of a few pictures is too small for others.

    Args:
        prior: one with a codec.
        images: clean pictures [B, H, W, C] in [−1, 1].
        share: in (0, 1]; 1 is all of them.

    Returns:
        The prior with another `data_range`, one number a channel; `save_prior` keeps it.

    Raises:
        UserError: for a prior of pixels, pictures that do not fit it, or another share.

    Example:
        >>> import code_jax
        >>> code_jax.measure_range(code_jax.load_prior("eurosat-64"), jnp.zeros((1, 64, 64, 3)))
        Traceback (most recent call last):
        code_jax.errors.UserError: this prior is one of pixels, whose range is known
    """
    if prior.codec is None:
        raise UserError("this prior is one of pixels, whose range is known")
    if images.shape[1:] != prior.image_shape or not len(images):
        raise UserError(
            f"pictures of shape {images.shape} cannot be measured; give [B, {', '.join(map(str, prior.image_shape))}]"
        )
    if not 0 < share <= 1:
        raise UserError(f"share is {brief(share)}; it must lie in (0, 1]")
    latents = [
        np.abs(np.asarray(encoded(prior, jnp.asarray(images[i : i + _AT_A_TIME])))) for i in range(0, len(images), _AT_A_TIME)
    ]
    joined = np.concatenate(latents).reshape(-1, latents[0].shape[-1])
    return prior.replace(data_range=tuple(map(float, np.quantile(joined, share, axis=0))))


def codec_error(prior: Prior, images: GivenImages) -> float:
    """Mean squared difference of pictures [B, H, W, C] to what the prior's codec gives back of them."""
    errors = [jnp.mean((decoded(prior, encoded(prior, part)) - part) ** 2, axis=(1, 2, 3)) for part in _in_parts(images)]
    return float(jnp.mean(jnp.concatenate(errors)))


def _in_parts(images: GivenImages) -> list[Images]:
    return [jnp.asarray(images[i : i + _AT_A_TIME]) for i in range(0, len(images), _AT_A_TIME)]
