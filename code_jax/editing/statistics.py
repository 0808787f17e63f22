"""Statistics of pictures under a prior: what it finds of noise and of strangeness at each noise level, in one cheap pass.

At a level σ a picture x gets noise n, and the residual ε(x + σn, σ) − n is what the prior finds in it besides. Of a clean picture
that is what noise hides; noise of deviation s that the picture has itself adds about (s/σ)² to its mean square, and what is
smoother than clean pictures takes some away. Along the DDIM encoding (σ upward by Euler's steps, no noise added) ε becomes the
latent's noise, of mean square near 1 where the picture is typical. DiffPath (Heng et al. 2024, arXiv 2405.11881, section 4) tells
strange pictures by six moments of that path: of ε, ε², ε³ and of dε/dt, (dε/dt)², (dε/dt)³, summed over steps and dimensions;
here they are means, which do not grow with the size. `Calibration` says what each of these is of clean pictures.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from code_jax.devices.flags import own_flags
from code_jax.devices.one_by_one import apart
from code_jax.diffusion.denoiser import Condition, Denoiser
from code_jax.diffusion.levels import noise_levels
from code_jax.editing.conditions import check_condition
from code_jax.editing.images import check_images
from code_jax.editing.keys import image_keys
from code_jax.editing.options import OPTIONS
from code_jax.editing.words import in_words
from code_jax.errors import UserError, brief
from code_jax.shapes import AnyArray, GivenImages, Images, KeyPerImage, Keys, PerImage

SIGMAS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
NUM_STEPS = 10
_EDGES = (0.0, 0.125, 0.25, 0.5, 1.0)  # of the frequency bands, as shares of the highest frequency
_ROOT = math.sqrt(3)
# Daubechies' wavelet with two vanishing moments (1988), of differences.
_WAVELET = tuple(tap / (4 * math.sqrt(2)) for tap in (1 - _ROOT, _ROOT - 3, 3 + _ROOT, -1 - _ROOT))
_MAD = 0.6744897501960817  # the median of |n|, n ~ N(0, 1)


class PictureStatistics(NamedTuple):
    """What `picture_statistics` gives. Bands are octaves of frequency, F = 4 of them, the lowest first; 0 where one is empty.

    Attributes:
        sigmas: levels of the residuals. [B, S].
        noise: deviation of white noise in the picture, of the median of a wavelet's finest coefficients. [B].
        residual: mean (ε − n)² at each level. [B, S].
        residual_bands: the same by frequency. [B, S, F].
        encoding: mean ε² at each step of the encoding. [B, K].
        encoding_bands: the same by frequency. [B, K, F].
        path: means of ε, ε², ε³, dε/dt, (dε/dt)², (dε/dt)³ over the encoding, t from 0 to 1. [B, 6].
        residual_map: mean (ε − n)² of a pixel's channels, where maps are asked for. [B, S, H, W].
        encoding_map: mean ε² likewise. [B, K, H, W].
    """

    sigmas: Float[AnyArray, "batch levels"]
    noise: Float[AnyArray, " batch"]
    residual: Float[AnyArray, "batch levels"]
    residual_bands: Float[AnyArray, "batch levels 4"]
    encoding: Float[AnyArray, "batch steps"]
    encoding_bands: Float[AnyArray, "batch steps 4"]
    path: Float[AnyArray, "batch 6"]
    residual_map: Float[AnyArray, "batch levels height width"] | None = None
    encoding_map: Float[AnyArray, "batch steps height width"] | None = None

    def __repr__(self) -> str:
        return in_words("PictureStatistics", self._asdict())


@own_flags()
def picture_statistics(
    key: Keys, prior: Denoiser, images: GivenImages, condition: Condition = None, *, sigmas: Any = SIGMAS,
    num_steps: int = NUM_STEPS, maps: bool = False,
) -> PictureStatistics:  # fmt: skip
    """What a prior finds of noise and of strangeness in images: as many evaluations of the network as levels and steps together.

    See `code_jax.editing.statistics` for the formulae. An image's statistics depend on its own key and pixels alone.

    Args:
        key: a typed PRNG key, [B] or [], as of `code_jax.edit`: of the noise that the residuals are found with.
        prior: a `Prior`, or what stands for one.
        images: [B, H, W, C] floating, in [−1, 1].
        condition: of a conditional prior: a pytree with one entry an image, [B, ...].
        sigmas: levels of the residuals, positive; those beyond the prior's range are taken to its ends.
        num_steps: steps of the DDIM encoding, 2 or more, uniform in t.
        maps: give the maps, too.

    Returns:
        A `PictureStatistics`.

    Raises:
        UserError: names a setting out of its range, or images that do not fit the prior.

    Example:
        >>> import code_jax, jax, jax.numpy as jnp
        >>> unit_gaussian = lambda params, z, sigma: z * (sigma / (1 + sigma**2))[:, None, None, None]
        >>> prior = code_jax.Prior.from_denoiser(unit_gaussian, (), (8, 8, 3), (0.01, 80.0))
        >>> found = code_jax.picture_statistics(jax.random.key(0), prior, jnp.zeros((1, 8, 8, 3)))
        >>> found.noise.tolist(), found.residual.shape
        ([0.0], (1, 7))
    """
    levels = np.atleast_1d(np.asarray(sigmas, float))
    if levels.ndim != 1 or not levels.size or not np.all((levels > 0) & np.isfinite(levels)):
        raise UserError(f"sigmas are {brief(levels.tolist())}; they must be one or more positive numbers")
    OPTIONS["num_steps"].check(num_steps)
    if num_steps < 2:
        raise UserError(f"num_steps is {num_steps}; the rate of change along the encoding takes 2 at least")
    if prior.codec is not None:
        raise UserError("a latent prior knows latents, and these are statistics of pixels; give a prior of pixels")
    images = check_images(prior, images)
    condition = check_condition(prior, condition, len(images))
    keys, sigmas = image_keys(key, images), jnp.asarray(levels, images.dtype)
    return _statistics(keys, apart(prior, images), images, condition, sigmas, num_steps, maps)


@functools.partial(jax.jit, static_argnames=("num_steps", "maps"))
def _statistics(
    keys: KeyPerImage,
    denoiser: Denoiser,
    images: Images,
    condition: Condition,
    sigmas: Float[Array, " levels"],
    num_steps: int,
    maps: bool,
) -> PictureStatistics:
    shape, dtype, count = images.shape[1:], images.dtype, len(sigmas)
    low, high = denoiser.sigma_range
    sigmas = jnp.clip(sigmas, low, high).astype(dtype)
    way = noise_levels(denoiser, low, high, num_steps, "time").astype(dtype)
    levels, spans = jnp.concatenate([sigmas, way[:-1]]), jnp.concatenate([jnp.zeros(count, dtype), jnp.diff(way)])

    def step(carry: Any, k: jax.Array) -> tuple[Any, Any]:
        """One evaluation: of a residual first, then along the encoding, so that the network is in the program once."""
        z, before, moments = carry
        residual = k < count
        noise = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, k), shape, dtype))(keys)
        noise = jnp.where(residual, noise, 0)
        at = jnp.where(residual, images + levels[k] * noise, z)
        rest = denoiser.eps_at(at, jnp.broadcast_to(levels[k], (len(z), 1, 1, 1)), condition) - noise
        rate = jnp.where(k > count, num_steps * (rest - before), 0)
        powers = [jnp.mean(each**power, axis=(1, 2, 3)) for each in (rest, rate) for power in (1, 2, 3)]
        squared = rest**2
        told = jnp.mean(squared, axis=(1, 2, 3)), band_means(rest), jnp.mean(squared, axis=3) if maps else None
        return (z + spans[k] * rest, rest, moments + jnp.where(residual, 0, jnp.stack(powers, axis=1))), told

    start = images, jnp.zeros_like(images), jnp.zeros((len(images), 6), dtype)
    (_, _, moments), told = jax.lax.scan(step, start, jnp.arange(count + num_steps))
    means, bands, pictures = jax.tree.map(lambda of: jnp.swapaxes(of, 0, 1), told)
    path = moments / jnp.array([num_steps] * 3 + [num_steps - 1] * 3, dtype)
    return PictureStatistics(
        jnp.broadcast_to(sigmas, (len(images), count)), wavelet_noise(images),
        means[:, :count], bands[:, :count], means[:, count:], bands[:, count:], path,
        *((pictures[:, :count], pictures[:, count:]) if maps else ()),
    )  # fmt: skip


def band_means(images: Images) -> Float[Array, "batch 4"]:
    """Mean squares of the coefficients of a cosine transform by octave, [B, 4]: 1 each of white noise N(0, 1).

    A coefficient's frequency is the larger of its two, as a share of the highest.
    """
    power = jnp.mean(jax.scipy.fft.dctn(images, axes=(1, 2), norm="ortho") ** 2, axis=3)
    height, width = images.shape[1:3]
    frequency = jnp.maximum(jnp.arange(height)[:, None] / height, jnp.arange(width) / width)
    means = []
    for below, above in itertools.pairwise(_EDGES):
        inside = ((frequency >= below) & (frequency < above)).astype(images.dtype)
        means.append(jnp.sum(power * inside, axis=(1, 2)) / jnp.maximum(jnp.sum(inside), 1))
    return jnp.stack(means, axis=1)


def wavelet_noise(images: Images) -> PerImage:
    """The deviation of white noise in images, [B]: median |d|/0.6745 of a wavelet's finest diagonal coefficients d.

    Donoho & Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage", with Daubechies' wavelet of four taps. What is drawn
    finely counts as noise, too. A side of fewer than four pixels is left as it is; where both are, nothing tells noise: 0.
    """
    detail = images
    for axis in (1, 2):
        length = images.shape[axis]
        if length >= len(_WAVELET):
            parts = [jax.lax.slice_in_dim(detail, k, length - 3 + k, 2, axis) for k in range(4)]
            detail = jnp.tensordot(jnp.array(_WAVELET, images.dtype), jnp.stack(parts), 1)
    if detail is images:
        return jnp.zeros(len(images), images.dtype)
    return jnp.median(jnp.abs(detail).reshape(len(images), -1), axis=1) / _MAD
