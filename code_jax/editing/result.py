"""What an edit gives: the images of a finished route, and facts."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from code_jax.devices.one_by_one import apart
from code_jax.diffusion.codec import decoded
from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.projections import Composite
from code_jax.editing.route import State
from code_jax.editing.words import in_words
from code_jax.shapes import AnyArray, Images, PerImage


class EditInfo(NamedTuple):
    """Facts of an `edit`; of one image [H, W, C] without the axis B.

    Attributes:
        nfe: network evaluations made for each. int32 [B].
        clipped: share of values that clipping changed at any step. [B].
        squared_score: mean squared score per dimension times 1 − ᾱ (so mean ε²) at the last corrected step; about 1 is typical,
            NaN where nothing was corrected. [B].
        finite: whether every value of the result is finite. bool [B].
        clipped_pixels: where clipping changed any channel at any step. bool [B, H, W], of latents' own size where there are any.
        codec_error: of a latent prior: mean squared difference of each image to what its codec alone gives back, which is about
            how near an edit can come where there is no mask; 0 for a prior of pixels. [B].
    """

    nfe: Int[AnyArray, "*batch"]
    clipped: Float[AnyArray, "*batch"]
    squared_score: Float[AnyArray, "*batch"]
    finite: Bool[AnyArray, "*batch"]
    clipped_pixels: Bool[AnyArray, "*batch height width"]
    codec_error: Float[AnyArray, "*batch"]

    def __repr__(self) -> str:
        return in_words("EditInfo", self._asdict())


class EditResult(NamedTuple):
    """What `edit` gives.

    Attributes:
        images: [B, H, W, C] in [−1, 1], of the dtype that they were given in, float32 or more; [H, W, C] of one image.
        info: an `EditInfo`.
    """

    images: Float[Array, "*batch height width channels"]
    info: EditInfo

    def __repr__(self) -> str:
        return in_words("EditResult", self._asdict())


def finish(state: State, denoiser: Denoiser, region: Composite | None = None) -> EditResult:
    """The result of a finished route; the region is that of pictures."""
    latent = None if denoiser.codec is None else apart(denoiser, state.z)
    images, clipped, finite, pixels = ended(state, latent, region, denoiser.data_range)
    with jax.debug_nans(False):  # which here says that there is nothing to say
        squared = jnp.where(state.squared_eps < 0, jnp.nan, state.squared_eps)
    return EditResult(images, EditInfo(state.nfe, clipped, squared, finite, pixels, state.codec_error))


@functools.partial(jax.jit, static_argnums=3)
def ended(
    state: State, latent: Denoiser | None, region: Composite | None, data_range: float | tuple[float, ...]
) -> tuple[Images, PerImage, Bool[Array, " batch"], Bool[Array, "batch rows columns"]]:
    """Pictures (of x_t of the last level, whose σ is 0 unless a method has it otherwise), clipped share, finite, clipped."""
    finite = jnp.all(jnp.isfinite(state.z), axis=(1, 2, 3))
    where, bound = state.projected["clip"], jnp.asarray(data_range, state.z.dtype)
    clipped = jnp.mean(where, axis=(1, 2, 3), dtype=jnp.float32)
    images = jnp.clip(state.z * jax.lax.rsqrt(1 + state.sigma**2), -bound, bound)
    images = images if latent is None else decoded(latent, images)
    images = images if region is None else region.blend(images)
    return images, clipped, finite, jnp.any(where, axis=-1)
