"""Noise of single pixels (Hendrycks & Dietterich 2019): it has no length, so the size of the picture does not matter."""

from __future__ import annotations

import numpy as np

from code_jax.corruptions.family import family


def gaussian_noise(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """x + σ·n, n ~ N(0, 1)."""
    sigma = (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    return image + sigma * rng.standard_normal(image.shape)


def shot_noise(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Poisson(x·c)/c: c photons make white."""
    photons = (60, 25, 12, 5, 3)[severity - 1]
    return rng.poisson(image * photons) / photons


def impulse_noise(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A share of the values, channel by channel, becomes 0 or 1 with equal chances."""
    share = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    hit = rng.random(image.shape) < share
    return np.where(hit, rng.integers(0, 2, image.shape), image)


def speckle_noise(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """x + x·σ·n, n ~ N(0, 1)."""
    sigma = (0.15, 0.2, 0.35, 0.45, 0.6)[severity - 1]
    return image + image * sigma * rng.standard_normal(image.shape)


FAMILY = family(gaussian_noise, shot_noise, impulse_noise, speckle_noise)
