"""Pixels and lines replaced by random colours: 8 % of them for each step of severity (CODE, van Delft et al. 2024)."""

from __future__ import annotations

import numpy as np

from code_jax.corruptions.family import family

_SHARE = 0.08


def masking_random_color(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A share of the pixels takes one random colour."""
    hit = rng.random((*image.shape[:2], 1)) < _SHARE * severity
    return np.where(hit, _colours((1, 1, 3), rng), image)


def masking_vline_random_color(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A share of the columns, channel by channel, takes a random value each."""
    lines = (1, image.shape[1], 3)
    hit = rng.random(lines) < _SHARE * severity
    return np.where(hit, _colours(lines, rng), image)


def _colours(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, shape) / 255


FAMILY = family(masking_random_color, masking_vline_random_color)
