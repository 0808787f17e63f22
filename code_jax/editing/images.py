"""Images as a user gives them, checked against the prior that they are for."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from code_jax.diffusion.denoiser import Denoiser
from code_jax.errors import UserError, brief
from code_jax.shapes import GivenImages, Images, Scalar

_BEYOND = 10  # times the range of clean images: noise stays below it, levels of 8 bits do not


def check_images(denoiser: Denoiser, images: GivenImages, shape: tuple[int, int, int] | None = None) -> Images:
    """Images, or latents of a shape, as [B, H, W, C] in float32 or float64; raises UserError where they do not fit the prior."""
    if not hasattr(denoiser, "image_shape"):
        raise UserError(f"{brief(denoiser)} is no prior; load one with code_jax.load_prior")
    images, shape = jnp.asarray(images), denoiser.image_shape if shape is None else shape
    if images.shape[1:] != shape or images.ndim != 4:
        raise UserError(f"images of shape {images.shape} do not fit the prior; it takes [B, {', '.join(map(str, shape))}]")
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise UserError(f"images are {images.dtype}; scale them to [-1, 1] with code_jax.from_uint8")
    if not len(images):
        raise UserError(f"images of shape {images.shape} are 0 images; give at least one")
    return images.astype(jnp.promote_types(images.dtype, jnp.float32))


def check_range(denoiser: Denoiser, images: Images) -> Images:
    """Clean images as they are; raises UserError where they are levels, not floats around [−1, 1]. Traced values pass."""
    if not isinstance(images, jax.core.Tracer):
        with jax.ensure_compile_time_eval():  # they may be constants of a program that is being traced
            largest = float(_largest(images))
        most = _BEYOND * float(np.max(denoiser.data_range if denoiser.codec is None else 1.0))
        if largest > most:
            raise UserError(f"images reach {largest:g} in size; scale them to [-1, 1] with code_jax.from_uint8")
    return images


@jax.jit
def _largest(images: Images) -> Scalar:
    return jnp.max(jnp.abs(images), initial=0, where=~jnp.isnan(images))
