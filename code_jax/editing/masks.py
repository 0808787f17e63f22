"""Masks: the share of an edit in its result, with a rim that fades, and the region that an edit is limited to."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from code_jax.diffusion.codec import encoded
from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.projections import Composite
from code_jax.editing.settings import Settings
from code_jax.errors import UserError
from code_jax.shapes import GivenMask, Images

RIM = 16  # a region's rim is this part of the height of what the prior sees


@functools.partial(jax.jit, static_argnames="width")
def feather(mask: Bool[Array, "*images height width"], width: int) -> Float[Array, "*images height width"]:
    """A region's share of the result, rising from its border inward over `width` pixels, or over all of it where it is thin.

    The share is d/D: d is the distance to the outside, D the largest one near, both counted up to `width`. Outside it is 0;
    an image's own edge is no border.

    Args:
        mask: bool [..., H, W].
        width: at least 1, which changes nothing.

    Returns:
        Floats in [0, 1], shaped as the mask.

    Example:
        >>> feather(jnp.array([[False, False, True, True, True, True, True, True]]), 4).tolist()
        [[0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0]]
        >>> feather(jnp.array([[False, True, True, True, False]]), 3).tolist()
        [[0.0, 0.5, 1.0, 0.5, 0.0]]
    """

    def greatest_near(values: jax.Array) -> jax.Array:
        window = (1,) * (values.ndim - 2) + (3, 3)
        return jax.lax.reduce_window(values, -jnp.inf, jax.lax.max, window, (1,) * values.ndim, "SAME")

    eroded = mask.astype(float)
    distance = jnp.zeros_like(eroded)
    for _ in range(width):
        distance += eroded
        eroded = -greatest_near(-eroded)
    largest = distance
    for _ in range(width - 1):
        largest = greatest_near(largest)
    return distance / jnp.maximum(largest, 1)


def check_mask(mask: GivenMask, images: Images, rim: int | None = None) -> Float[Array, "batch height width 1"]:
    """A mask [H, W] or [B, H, W] as the share of the edit in the result, [B, H, W, 1]: a bool one gets a feathered rim.

    rim: its width in pixels; None is 1/16 of the height.

    Raises:
        UserError: if its shape does not fit the images, or a value lies outside [0, 1].
    """
    mask = jnp.asarray(mask)
    if mask.shape not in (images.shape[1:3], images.shape[:3]):
        batch, height, width, _ = images.shape
        raise UserError(
            f"a mask of shape {mask.shape} does not fit; it must be [{height}, {width}] or [{batch}, {height}, {width}]"
        )
    if mask.dtype == bool:
        mask = feather(mask, max(images.shape[1] // RIM, 1) if rim is None else rim)
    elif not jnp.issubdtype(mask.dtype, jnp.floating):
        raise UserError(f"the mask is {mask.dtype}; it must be bool, or floating in [0, 1]")
    elif not isinstance(mask, jax.core.Tracer) and not np.all((np.asarray(mask) >= 0) & (np.asarray(mask) <= 1)):
        raise UserError("the mask has values outside [0, 1]; 1 is where the image may change")
    return jnp.broadcast_to(mask, images.shape[:3])[..., None].astype(images.dtype)


def region_of(settings: Settings, mask: GivenMask | None, images: Images) -> Composite | None:
    """The region of a mask [H, W] or [B, H, W], in pictures; None is everywhere.

    Raises:
        UserError: for a mask that does not fit, or a method that takes none.
    """
    if mask is None:
        return None
    if not settings.method.masks:
        raise UserError(f"the method {settings.method.name} takes no mask; leave it out, or choose another method")
    return Composite(check_mask(mask, images), images)


def latent_region(denoiser: Denoiser, region: Composite | None) -> Composite | None:
    """A region of pictures in what z is of: latents with a pixel in it are in it."""
    if region is None or denoiser.codec is None:
        return region
    return Composite(denoiser.codec.shrink(region.mask), encoded(denoiser, region.image))
