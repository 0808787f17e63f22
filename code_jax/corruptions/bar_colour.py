"""Colours of ImageNet-C-bar (Mintun, Kirillov & Xie 2021): film looks, false colours, turned hues, dithering.

Every corruption takes (image float64 [H, W, 3] in [0, 1], severity 1 to 5, rng) and returns the same shape, perhaps out of range.
Severity s is the published level s of 10. The film looks keep the low byte of what overflows, as the published program.
"""

from __future__ import annotations

import numpy as np

from code_jax.corruptions.family import family

LUMA = np.array([0.2126, 0.7152, 0.0722])  # ITU-R BT.709
GREYS = 14  # levels of `color_dither` before the severity is taken off


def bleach_bypass(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The silver left in the film: s/10 of an overlay of the picture with its own luma Y.

    2·x·Y in the shadows, 1 − 2(1 − Y)(1 − x) in the lights, mixed by clip(10(Y − 0.45), 0, 1).
    """
    x = np.rint(255 * image)
    luma = (image @ LUMA)[..., None]
    lights = np.clip(10 * (luma - 0.45), 0, 1)
    overlay = (1 - lights) * (2 * x % 256) * luma + lights * (255 - 2 * (1 - luma) * (255 - x))
    return _low_byte(x + severity / 10 * (overlay - x))


def technicolor(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The three-strip process: each channel times the other two's mattes, 1 − (channel − mean of the others); s/10 of it."""
    x = np.rint(255 * image)
    matte = 1 + (x.sum(-1, keepdims=True) - 3 * x) / 510
    film = x * matte[..., [1, 0, 0]] * matte[..., [2, 2, 1]]
    return _low_byte(x + severity / 10 * (film - x))


def pseudocolor(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """s/20 of false colours: the luma looks up a ramp between five random colours, a blend of straight and smooth steps.

    The smooth step climbs by the difference of the colours modulo 256, as that of bytes does, so that bands can end in an edge.
    """
    smoothness = rng.uniform(0.25, 0.75)
    colours = rng.integers(0, 255, (5, 3))
    luma = np.clip(image @ LUMA, 0, 1)
    band = np.minimum(luma * 4, 3).astype(int)
    t = (luma * 4 - band)[..., None]
    low, high = colours[band], colours[band + 1]
    straight = low + t * (high - low)
    smooth = low + t * t * (3 - 2 * t) * ((high - low) % 256)
    ramp = (straight + smoothness * (smooth - straight)) / 255
    return image + severity / 20 * (ramp - image)


def hue_shift(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Hue turned by s·18 degrees to either side; value and chroma stay."""
    return turn_hue(image, rng.choice([-1, 1]) * severity / 20)


def turn_hue(image: np.ndarray, turns: float) -> np.ndarray:
    """HSV's hue moved by `turns` (1 is the full circle), for float [H, W, 3].

    Example:
        >>> turn_hue(np.array([[[0.8, 0.2, 0.2]]]), 1 / 3).round(6).tolist()
        [[[0.2, 0.8, 0.2]]]
    """
    r, g, b = np.moveaxis(image, -1, 0)
    value = image.max(-1)
    chroma = value - image.min(-1)
    span = np.where(chroma > 0, chroma, 1)
    sextant = np.where(value == r, (g - b) / span, np.where(value == g, 2 + (b - r) / span, 4 + (r - g) / span))
    # Each channel is the value less the chroma times a trapezium over the hue's circle of six sextants.
    k = (np.array([5, 3, 1]) + sextant[..., None] + 6 * turns) % 6
    return value[..., None] - chroma[..., None] * np.clip(np.minimum(k, 4 - k), 0, 1)


def color_dither(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Error diffusion to 14 − s levels a channel, along each row: a pixel's error goes to its right, 1/16 and then 7/16 of it.

    Of Floyd & Steinberg's (1976) four shares the published program gives none to the next row, and its first row takes 1/16
    alone. Bytes lose their fractions after each share.
    """
    levels = GREYS - severity
    x = np.rint(255 * image)
    error = np.zeros_like(x[:, 0])
    for column in range(x.shape[1]):
        value = np.floor(np.clip(x[:, column] + error / 16, 0, 255))
        value[1:] = np.floor(np.clip(value[1:] + error[1:] * 7 / 16, 0, 255))
        x[:, column] = np.floor(255 * np.floor(levels * value / 256) / (levels - 1))
        error = value - x[:, column]
    return x / 255


def _low_byte(x: np.ndarray) -> np.ndarray:
    return np.trunc(x) % 256 / 255


FAMILY = family(bleach_bypass, color_dither, hue_shift, pseudocolor, technicolor)
