"""Five damages of tiles, for the benchmarks and the bundled samples: float32 [B, H, W, 3] in [−1, 1] in and out."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def noise(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of standard deviation 0.25."""
    return np.clip(images + 0.25 * rng.standard_normal(images.shape), -1, 1)


def blur(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian blur of σ = 1.5 pixels."""
    return ndimage.gaussian_filter(images, (0, 1.5, 1.5, 0), mode="reflect")


def veil(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A smooth white veil of 30 to 80 % opacity, as of fog or thin cloud."""
    opacity = ndimage.gaussian_filter(rng.standard_normal((*images.shape[:3], 1)), (0, 10, 10, 0), mode="wrap")
    low, high = opacity.min((1, 2, 3), keepdims=True), opacity.max((1, 2, 3), keepdims=True)
    opacity = 0.3 + 0.5 * (opacity - low) / (high - low)
    return (1 - opacity) * images + opacity


def masks(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Three 10×10 squares of random colours."""
    images = images.copy()
    for image in images:
        for y, x in rng.integers(0, image.shape[0] - 10, (3, 2)):
            image[y : y + 10, x : x + 10] = rng.uniform(-1, 1, 3)
    return images


def contrast(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A third of the contrast."""
    mean = images.mean((1, 2, 3), keepdims=True)
    return mean + (images - mean) / 3


DAMAGES = {damage.__name__: damage for damage in (noise, blur, veil, masks, contrast)}


def damaged(name: str, images: np.ndarray, seed: int) -> np.ndarray:
    """The images as 8-bit files would hold them after a damage; seeded by (seed, name)."""
    rng = np.random.default_rng([seed, *name.encode()])
    return (np.round((DAMAGES[name](images, rng).clip(-1, 1) + 1) * 127.5) / 127.5 - 1).astype(np.float32)
