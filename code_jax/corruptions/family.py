"""What a corruption is, and how a published length in pixels is carried over to a picture of another size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Corruption = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
"""(image float64 [H, W, 3] in [0, 1], severity 1..5, rng) -> image of the same shape; values may leave [0, 1]."""

Family = dict[str, Corruption]


def family(*corruptions: Corruption) -> Family:
    """The corruptions by their functions' names."""
    return {corruption.__name__: corruption for corruption in corruptions}


def relative_size(image: np.ndarray) -> float:
    """The shorter side over 256 pixels: what published lengths are multiplied by.

    Example:
        >>> 6 * relative_size(np.zeros((64, 90, 3)))  # a blur of 6 pixels at 256
        1.5
    """
    return min(image.shape[:2]) / 256
