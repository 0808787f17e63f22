"""Colour, coding, resolution and shape (Hendrycks & Dietterich 2019)."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from scipy import fft, ndimage

from code_jax.corruptions.family import family, relative_size


def brightness(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """V + 0.1 to V + 0.5 of hue, saturation and value, at most 1."""
    value = image.max(-1, keepdims=True)
    brighter = np.minimum(value + 0.1 * severity, 1)
    return np.where(value > 0, image / np.where(value > 0, value, 1), 1) * brighter


def contrast(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Each channel drawn towards its mean."""
    mean = image.mean((0, 1))
    return mean + (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1] * (image - mean)


def saturate(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """S·a + b of hue, saturation and value, at most 1: less colour at severities 1 and 2, more from 3 on.

    The channels are V − S·(share of the way from V to the lowest one); grey has the hue of red, as is common.
    """
    factor, offset = ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2))[severity - 1]
    value = image.max(-1, keepdims=True)
    chroma = value - image.min(-1, keepdims=True)
    saturation = chroma / np.where(value > 0, value, 1)
    share = np.where(chroma > 0, (value - image) / np.where(chroma > 0, chroma, 1), (0.0, 1.0, 1.0))
    return value * (1 - np.minimum(saturation * factor + offset, 1) * share)


def jpeg_compression(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Pillow's JPEG of quality 25 to 7; its blocks are of 8 pixels whatever the size."""
    with io.BytesIO() as file:
        _picture(image).save(file, "JPEG", quality=(25, 18, 15, 10, 7)[severity - 1])
        with Image.open(file) as picture:
            return np.asarray(picture.convert("RGB")) / 255


def pixelate(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Means of squares: the shorter side has 0.6 to 0.25 times 224 of them, or of its pixels where these are fewer."""
    height, width, _ = image.shape
    fewer = (0.6, 0.5, 0.4, 0.3, 0.25)[severity - 1] * min(1, 224 / min(height, width))
    coarse = _picture(image).resize((int(width * fewer), int(height * fewer)), Image.Resampling.BOX)
    return np.asarray(coarse.resize((width, height), Image.Resampling.NEAREST)) / 255


def elastic_transform(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A random affine map, then displacements α·(G_σ * u), u ~ U(−1, 1), with bilinear interpolation.

    The displacement's deviation is α·0.58/(2√π·σ), so that α goes with the square of the size, σ with the size.
    """
    alpha, sigma, corner = ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))[
        severity - 1
    ]
    size = relative_size(image)
    shape = image.shape[:2]
    dy, dx = (244 * alpha * size**2 * _mirrored_gaussian(rng.uniform(-1, 1, shape), 244 * sigma * size) for _ in range(2))

    centre, third = np.array(shape) // 2, min(shape) // 3
    corners = centre + third * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = corners + rng.uniform(-244 * corner * size, 244 * corner * size, corners.shape)
    affine = np.linalg.solve(np.column_stack([moved, np.ones(3)]), corners)  # [moved 1] @ affine = corners
    y, x = np.mgrid[: shape[0], : shape[1]]
    source = np.einsum("ihw,ij->jhw", np.stack([y + dy, x + dx, np.ones(shape)]), affine)
    return np.stack([ndimage.map_coordinates(image[..., c], source, order=1, mode="mirror") for c in range(3)], -1)


def _mirrored_gaussian(field: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian filter with mirrored borders, as factors exp(−σ²ω²/2) of a cosine transform: as fast for any σ."""
    for axis, n in enumerate(field.shape):
        factors = np.exp(-0.5 * (sigma * np.pi * np.arange(n) / n) ** 2)
        spectrum = fft.dct(field, axis=axis) * np.expand_dims(factors, 1 - axis)
        field = fft.idct(spectrum, axis=axis)
    return field


def _picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(np.round(image * 255).astype(np.uint8))


FAMILY = family(brightness, contrast, saturate, jpeg_compression, pixelate, elastic_transform)
