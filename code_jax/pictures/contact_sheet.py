"""A labelled contact sheet: one row a picture, one column a stage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from code_jax.errors import printable
from code_jax.pictures.arrays import picture_of

_CELL = 160  # pixels of a cell's picture at least; small tiles are enlarged by whole factors
_GAP, _CAPTION = 8, 18


def contact_sheet(columns: Sequence[str], rows: Sequence[tuple[str, Sequence[np.ndarray | None], Sequence[str]]]) -> Image.Image:
    """Draws rows of (label, pictures uint8 [H, W, C] or None, captions) under the columns' names; all pictures of one size."""
    height, width = next(picture.shape[:2] for _, pictures, _ in rows for picture in pictures if picture is not None)
    scale = max(1, -(-_CELL // max(height, width)))
    cell_height, cell_width = height * scale + 2 * _CAPTION + _GAP, width * scale + _GAP
    font = ImageFont.load_default(12)
    sheet = Image.new("RGB", (cell_width * len(columns) + _GAP, cell_height * len(rows) + _CAPTION + 2 * _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for i, name in enumerate(columns):
        draw.text((_GAP + i * cell_width, _GAP), printable(name), "black", font)
    for j, (label, pictures, captions) in enumerate(rows):
        top = _GAP + _CAPTION + j * cell_height
        draw.text((_GAP, top), printable(label), "gray", font)
        for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
            left = _GAP + i * cell_width
            if picture is not None:
                enlarged = picture_of(picture).resize((width * scale, height * scale), Image.Resampling.NEAREST)
                sheet.paste(enlarged, (left, top + _CAPTION))
            draw.text((left, top + _CAPTION + height * scale + 1), caption, "black", font)
    return sheet
