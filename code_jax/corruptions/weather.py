"""Fog, snow and spatter (Hendrycks & Dietterich 2019), their lengths in proportion to the picture; frost has its own file."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from code_jax.corruptions.blur import smear
from code_jax.corruptions.family import family, relative_size
from code_jax.corruptions.frost import frost

_LUMA = np.array([0.299, 0.587, 0.114])
_WATER, _MUD = np.array([175, 238, 238]) / 255, np.array([63, 42, 20]) / 255


def fog(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A plasma fractal is added, and all is scaled back to the picture's brightest value."""
    density, decay = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))[severity - 1]
    height, width, _ = image.shape
    veil = plasma(1 << (max(height, width) - 1).bit_length(), decay, rng)[:height, :width, None]
    return (image + density * veil) * image.max() / (image.max() + density)


def snow(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Flakes smeared by their fall, and the same upside down, over a picture that is whitened."""
    mean, deviation, zoom, threshold, radius, sigma, kept = (
        (0.1, 0.3, 3.0, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2.0, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4.0, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )[severity - 1]
    size = relative_size(image)
    height, width, _ = image.shape
    zoom = max(1.0, zoom * size)  # a flake is no smaller than a pixel
    coarse = rng.normal(mean, deviation, (int(np.ceil(height / zoom)) + 1, int(np.ceil(width / zoom)) + 1))
    flakes = ndimage.zoom(coarse, zoom, order=1)[:height, :width, None]
    flakes = smear(np.where(flakes < threshold, 0, flakes.clip(0, 1)), radius * size, sigma * size, rng.uniform(-135, -45))
    white = np.maximum(image, 1.5 * (image @ _LUMA)[..., None] + 0.5)
    return kept * image + (1 - kept) * white + flakes + flakes[::-1, ::-1]


def spatter(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Drops of water at severities 1 to 3, mud at 4 and 5: where smooth noise is above a threshold."""
    mean, deviation, sigma, threshold, strength = (
        (0.65, 0.3, 4, 0.69, 0.6),
        (0.65, 0.3, 3, 0.68, 0.6),
        (0.65, 0.3, 2, 0.68, 0.5),
        (0.65, 0.3, 1, 0.65, 1.5),
        (0.67, 0.4, 1, 0.65, 1.5),
    )[severity - 1]
    size = relative_size(image)
    smooth = ndimage.gaussian_filter(rng.standard_normal(image.shape[:2]), sigma * size)
    # White noise filtered with σ pixels has the deviation 1/(2√π·σ): that of 256 pixels is kept at every size.
    liquid = mean + deviation / (2 * np.sqrt(np.pi) * sigma) * smooth / smooth.std()
    wet = liquid > threshold
    if severity <= 3:
        gloss = np.where(wet, liquid, 0) * _relief(wet, size)
        return image + strength * (gloss / max(gloss.max(), 1e-9))[..., None] * _WATER
    cover = ndimage.gaussian_filter(wet.astype(float), strength * size)[..., None]
    cover = np.where(cover < 0.8, 0, cover)
    return (1 - cover) * image + cover * _MUD


def plasma(size: int, decay: float, rng: np.random.Generator) -> np.ndarray:
    """A periodic fractal [size, size] from 0 to 1, size a power of two, by the diamond-square algorithm.

    Midpoints are the means of four neighbours and a uniform error, whose range falls by decay² with every halving (the
    published program multiplies its decaying amplitude by itself).
    """
    field, step, reach = np.zeros((size, size)), size, 1.0
    while step > 1:
        half = step // 2
        corners = field[::step, ::step]
        along = corners + np.roll(corners, -1, 0)
        middles = (along + np.roll(along, -1, 1)) / 4 + rng.uniform(-reach, reach, corners.shape)
        field[half::step, half::step] = middles
        for axis, edge in ((1, np.s_[::step, half::step]), (0, np.s_[half::step, ::step])):
            around = corners + np.roll(corners, -1, axis) + middles + np.roll(middles, 1, 1 - axis)
            field[edge] = around / 4 + rng.uniform(-reach, reach, corners.shape)
        step, reach = half, reach / decay**2
    return (field - field.min()) / np.ptp(field)


def _relief(wet: np.ndarray, size: float) -> np.ndarray:
    """Drops lit from one side: the distance to their rims, up to 20 pixels at 256, equalized and embossed; 0 to 255."""
    rims = wet & ~ndimage.binary_erosion(wet)
    distance = ndimage.distance_transform_edt(~rims) / size if rims.any() else np.full(wet.shape, 20.0)
    smooth = ndimage.uniform_filter(np.minimum(distance, 20), 3)
    levels = np.floor(smooth.clip(0)).astype(int)  # the filter's running sum leaves −1e−15 in the place of 0
    shares = np.cumsum(np.bincount(levels.ravel(), minlength=21)) / levels.size
    lowest = shares[levels.min()]
    equalized = 255 * (shares[levels] - lowest) / max(1 - lowest, 1e-9)
    embossed = ndimage.correlate(equalized, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]))
    return ndimage.uniform_filter(embossed.clip(0, 255), 3)


FAMILY = family(fog, frost, snow, spatter)
