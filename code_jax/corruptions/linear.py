"""Linear damage with known operators, and noise: what a method that is told the damage is measured on. Not the paper's.

`code_jax.editing.operators` has the operators; the noise is of 0.01 to 0.05, for images in [−1, 1].
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from code_jax.corruptions.family import family


def linear_blur(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian blur of σ = 1.5 pixels, and a little noise."""
    blurred = ndimage.gaussian_filter(image, (1.5, 1.5, 0), mode="mirror", radius=(6, 6, 0))
    return _noisy(blurred, severity, rng)


def linear_downsample(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Squares of four pixels by four take their mean, and a little noise."""
    height, width, channels = image.shape
    padded = np.pad(image, ((0, -height % 4), (0, -width % 4), (0, 0)), mode="edge")
    means = padded.reshape(padded.shape[0] // 4, 4, padded.shape[1] // 4, 4, channels).mean(axis=(1, 3))
    return _noisy(means.repeat(4, axis=0).repeat(4, axis=1)[:height, :width], severity, rng)


def linear_mask(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The square of half the sides in the middle is gray, and a little noise."""
    covered, (height, width) = image.copy(), image.shape[:2]
    covered[height // 4 : height - height // 4, width // 4 : width - width // 4] = 0.5
    return _noisy(covered, severity, rng)


def _noisy(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    return image + 0.005 * severity * rng.normal(size=image.shape)


FAMILY = family(linear_blur, linear_downsample, linear_mask)
