"""What every metric takes: floating images [B, H, W, C] in [−1, 1], checked once; and their size where a network states one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from code_jax.errors import UserError
from code_jax.shapes import GivenImages, Images

_SLACK = 1e-4  # of rounding, beyond ±1


def check_images(images: GivenImages, *, channels: int | None = None, smallest: int = 1) -> Images:
    """The images as float32; raises UserError for another dtype, shape, range, number of channels, or too few pixels.

    The range is looked at only where the values are at hand: under a user's own `jax.jit` it is not. NaN passes.
    """
    images = jnp.asarray(images)
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise UserError(f"images are {images.dtype}; scale them to [-1, 1] with code_jax.from_uint8")
    if images.ndim != 4:
        raise UserError(f"images have shape {images.shape}; a metric takes [B, H, W, C]")
    if channels is not None and images.shape[3] != channels:
        raise UserError(f"images have {images.shape[3]} channels; this metric takes {channels}")
    if min(images.shape[1:3]) < smallest:
        raise UserError(f"images are {images.shape[1]}x{images.shape[2]}; this metric takes {smallest}x{smallest} at least")
    if not isinstance(images, jax.core.Tracer) and images.size:
        with jax.ensure_compile_time_eval():  # they may be constants of a program that is being traced
            largest = float(jnp.nanmax(jnp.abs(images)))
        if largest > 1 + _SLACK:
            raise UserError(f"images reach {largest:g} in size; scale them to [-1, 1]")
    return images.astype(jnp.float32)


def check_pair(a: GivenImages, b: GivenImages, *, channels: int | None = None, smallest: int = 1) -> tuple[Images, Images]:
    """Two batches of images of one shape, each as `check_images` has it."""
    a, b = (check_images(images, channels=channels, smallest=smallest) for images in (a, b))
    if a.shape != b.shape:
        raise UserError(f"images of shapes {a.shape} and {b.shape} cannot be compared; give two batches of one shape")
    return a, b


def bicubic(images: Images, height: int, width: int) -> Float[Array, "batch {height} {width} channels"]:
    """Images [B, H, W, C] at another size as Pillow's BICUBIC on floats: Keys' kernel (a = −½), widened where it shrinks.

    May overshoot the range of what it is given.
    """
    shape = (len(images), height, width, images.shape[3])
    return jax.image.resize(images, shape, "cubic", precision=jax.lax.Precision.HIGHEST)
