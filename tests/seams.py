"""Whether a picture shows the borders of the parts that it was made of."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np


def border_ratio(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> float:
    """Mean absolute gradient across borders, to that between neighbours elsewhere: 1 where no border can be told.

    Args:
        image: [H, W, C].
        rows, columns: first pixels of the parts; those at the picture's own edge do not count.
    """
    at, elsewhere = [], []
    for axis, starts in ((0, rows), (1, columns)):
        steps = np.moveaxis(np.abs(np.diff(image, axis=axis)), axis, 0)
        inside = starts[(starts > 0) & (starts < image.shape[axis])] - 1
        border = np.zeros(len(steps), bool)
        border[inside] = True
        at.append(steps[border].ravel())
        elsewhere.append(steps[~border].ravel())
    return float(np.concatenate(at).mean() / np.concatenate(elsewhere).mean())


def pasted(restore: Callable, image: jnp.ndarray, side: int) -> np.ndarray:
    """A picture [H, W, C] cut into tiles (mirrored at its edges), each restored by itself, and put together again."""
    height, width, channels = image.shape
    rows, columns = -(-height // side), -(-width // side)
    whole = jnp.pad(image, ((0, rows * side - height), (0, columns * side - width), (0, 0)), "symmetric")
    tiles = whole.reshape(rows, side, columns, side, channels).swapaxes(1, 2).reshape(-1, side, side, channels)
    made = np.asarray(restore(tiles)).reshape(rows, columns, side, side, channels).swapaxes(1, 2)
    return made.reshape(rows * side, columns * side, channels)[:height, :width]
