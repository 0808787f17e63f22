"""What a latent prior has between pictures and z: an encoder, a decoder, and how a mask of pictures becomes one of latents."""

from __future__ import annotations

from typing import Any, Protocol

from jaxtyping import Array, Float

from code_jax.shapes import Images, Latents


class Codec(Protocol):
    """A pytree, so that its weights are arguments of what is compiled; latents are clean, at σ = 0."""

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(h, w, c) of one picture's latents."""

    def encode(self, images: Images) -> Latents:
        """Latents [B, h, w, c] of pictures [B, H, W, C] in [−1, 1]."""

    def decode(self, latents: Latents) -> Images:
        """Pictures in [−1, 1] of latents."""

    def shrink(self, mask: Float[Array, "batch height width 1"]) -> Float[Array, "batch rows columns 1"]:
        """The greatest share within each latent's pixels, [B, h, w, 1], of shares [B, H, W, 1]."""


def latent_shape(denoiser: Any) -> tuple[int, int, int]:
    """(h, w, c) of what z is of, for one picture."""
    shape: tuple[int, int, int] = denoiser.image_shape if denoiser.codec is None else denoiser.codec.latent_shape
    return shape


def encoded(denoiser: Any, images: Images) -> Latents:
    """What z is of, for pictures."""
    return images if denoiser.codec is None else denoiser.codec.encode(images).astype(images.dtype)


def decoded(denoiser: Any, latents: Latents) -> Images:
    """Pictures of what z is of."""
    return latents if denoiser.codec is None else denoiser.codec.decode(latents).astype(latents.dtype)
