"""Blurs (Hendrycks & Dietterich 2019), their lengths in proportion to the picture."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage, signal

from code_jax.corruptions.family import family, relative_size


def gaussian_blur(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian of σ = 1 to 6 pixels at 256."""
    return _gaussian(image, (1, 2, 3, 4, 6)[severity - 1] * relative_size(image))


def glass_blur(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Pixels strewn over a few pixels' distance between two Gaussian blurs."""
    sigma, distance, rounds = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[severity - 1]
    sigma, distance = sigma * relative_size(image), max(1, round(distance * relative_size(image)))
    image = _gaussian(image, sigma)
    for _ in range(rounds):
        image = _strew(image, distance, rng)
    return _gaussian(image, sigma)


def motion_blur(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Half a Gaussian along a line less than 45° from the horizontal."""
    radius, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[severity - 1]
    size = relative_size(image)
    return smear(image, radius * size, sigma * size, rng.uniform(-45, 45))


def smear(image: np.ndarray, radius: float, sigma: float, angle: float) -> np.ndarray:
    """Motion blur as of ImageMagick: Σᵢ kᵢ·x(p + i·(cos, sin)), kᵢ ∝ exp(−i²/2σ²), i = 0 … 2·radius.

    Args:
        image: float64 [H, W, C]; the border is repeated.
        radius, sigma: in pixels.
        angle: where a pixel's values come from, in degrees from right towards down.
    """
    steps = np.arange(2 * max(1, round(radius)) + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    direction = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    rows, columns = (np.ceil(steps * d - 0.5).astype(int) for d in direction)
    reach = int(steps[-1])
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1, 1))
    np.add.at(kernel, (reach - rows, reach - columns, 0), weights / weights.sum())
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    return signal.fftconvolve(padded, kernel, mode="valid", axes=(0, 1))


def _gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest")


def _strew(image: np.ndarray, distance: int, rng: np.random.Generator) -> np.ndarray:
    """Each inner pixel, from the last to the first, becomes a copy of what a random near one holds by then.

    A pixel that copies one already visited gets what that one had got: the source of each is the end of a chain, and
    doubling the length of the links finds all ends at once.
    """
    height, width = image.shape[:2]
    inner = np.zeros((height, width), bool)
    inner[distance + 1 : height - distance + 1, distance + 1 : width - distance + 1] = True
    here = np.flatnonzero(inner)
    shift = rng.integers(-distance, distance, (2, here.size))
    there = (here // width + shift[0]).clip(0, height - 1) * width + (here % width + shift[1]).clip(0, width - 1)

    count = height * width
    links = np.arange(2 * count)  # first the pixels once visited, then the same before: those are the ends
    links[:count] += count
    links[here] = np.where((there > here) & inner.ravel()[there], there, there + count)
    while not np.array_equal(links, further := links[links]):
        links = further
    return image.reshape(count, 3)[links[:count] - count].reshape(image.shape)


FAMILY = family(gaussian_blur, glass_blur, motion_blur)
