"""Frost: feathers of ice, drawn, in place of the published photographs."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from code_jax.corruptions.family import relative_size

_MEAN, _DEVIATION = np.array([0.34, 0.38, 0.43]), 0.107  # of the ice in a published example
_FEATHERS = 220  # on 256×256 pixels
_FINEST = 512  # pixels of the drawing's shorter side at least


def frost(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """a·x + b·ice."""
    kept, added = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))[severity - 1]
    height, width, _ = image.shape
    return kept * image + added * ice(height, width, rng)


def ice(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A window's frost, [height, width, 3] in [0, 1]: feathers over soft clouds, of one mean and deviation."""
    enlarged = max(1.0, _FINEST / min(height, width))
    canvas = Image.new("L", (round(width * enlarged), round(height * enlarged)))
    unit = min(canvas.size) / 256
    draw = ImageDraw.Draw(canvas)
    for _ in range(round(_FEATHERS * canvas.width * canvas.height / (256 * unit) ** 2)):
        _feather(draw, canvas.size, unit, rng)
    feathers = np.asarray(canvas.resize((width, height), Image.Resampling.BOX), np.float64)
    size = relative_size(feathers)
    clouds = ndimage.gaussian_filter(rng.standard_normal((height, width)), 12 * size, mode="wrap")
    texture = feathers / feathers.std() + 0.7 * clouds / clouds.std()
    texture = (texture - texture.mean()) / texture.std()
    return (_MEAN + _DEVIATION * texture[..., None]).clip(0, 1)


def _feather(draw: ImageDraw.ImageDraw, size: tuple[int, int], unit: float, rng: np.random.Generator) -> None:
    """A stem, and needles to both sides of it that shorten towards its tip."""
    start = rng.uniform(0, 1, 2) * size
    heading, spread, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.1), unit * rng.uniform(15, 50)
    shade = rng.uniform(60, 230)
    bend = rng.uniform(-0.4, 0.4)
    along = np.arange(0, 1, 2.2 * unit / length)
    headings = heading + bend * along
    points = start + length * np.column_stack([along * np.cos(headings), along * np.sin(headings)])
    width = max(1, round(0.8 * unit))
    for share, turned, point in zip(along, headings, points, strict=True):
        for side in (-1, 1):
            reach = 0.32 * length * (1 - share) * rng.uniform(0.4, 1)
            tip = point + reach * np.array([np.cos(turned + side * spread), np.sin(turned + side * spread)])
            draw.line([*point, *tip], int(shade * rng.uniform(0.4, 0.9)), max(1, width // 2))
    draw.line(points.ravel().tolist(), int(shade), width)
