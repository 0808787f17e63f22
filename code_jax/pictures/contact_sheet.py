"""Labelled contact sheets: one row a picture, one column a stage, each picture at its own proportions."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from code_jax.errors import printable
from code_jax.pictures.arrays import picture_of
from code_jax.pictures.files import write_picture
from code_jax.storage.address import Place

_LEAST, _MOST, _CROP = 160, 320, 192  # pixels of a side: enlarged up to, shrunk down to, and cut out of what is shrunk
_GAP, _CAPTION = 8, 18
_ROWS, _PIXELS = 60, 2**24  # of a page at most
_FAR = 1600  # pixels that a page is high before its rows go side by side, and wide when no more of them do
_NAME = re.compile(r"contact_sheet(_[0-9]+)?", re.IGNORECASE)

Cells = Sequence[np.ndarray | None]
Line = tuple[str, Cells, Sequence[str]]  # label, pictures uint8 [H, W, C] of one size, captions


def is_sheet(stem: str) -> bool:
    """Whether a name without its ending is one that `write_sheets` gives.

    Example:
        >>> is_sheet("contact_sheet"), is_sheet("contact_sheet_2"), is_sheet("contact")
        (True, True, False)
    """
    return _NAME.fullmatch(stem) is not None


def write_sheets(sheets: Iterable[Image.Image], out: Place) -> None:
    """Writes ``contact_sheet.png``, and the further pages as ``contact_sheet_2.png`` and so on."""
    for number, sheet in enumerate(sheets, 1):
        write_picture(sheet, out / ("contact_sheet.png" if number == 1 else f"contact_sheet_{number}.png"))


def contact_sheets(columns: Sequence[str], lines: Iterable[Line], foot: str = "") -> Iterator[Image.Image]:
    """Pages of rows under the columns' names, at most 60 each, narrow ones in bands; one page's pictures are held at a time.

    Small pictures are enlarged by whole factors. Of large ones there is, below the shrunk picture, the place at its own size
    that changed most from the first column to any other; the first column shows where it is.

    Args:
        columns: the stages' names.
        lines: rows of (label, pictures uint8 [H, W, C] or None, captions); the pictures of a row have one size.
        foot: what is written below each page.
    """
    page: list[_Row] = []
    for row in map(_row, lines):
        if page and (len(page) == _ROWS or math.prod(_size(columns, [*page, row])) > _PIXELS):
            yield _drawn(columns, page, foot)
            page = []
        page.append(row)
    if page:
        yield _drawn(columns, page, foot)


def contact_sheet(columns: Sequence[str], lines: Iterable[Line]) -> Image.Image:
    """The first of the `contact_sheets`."""
    return next(contact_sheets(columns, lines))


class _Row(NamedTuple):
    """A row as it is drawn: strips of pictures, one below the other, of a size (W, H) each."""

    label: str
    captions: Sequence[str]
    strips: list[tuple[tuple[int, int], list[Image.Image | None]]]

    @property
    def height(self) -> int:
        return sum(height + _GAP for (_, height), _ in self.strips) + 2 * _CAPTION


def _row(line: Line) -> _Row:
    label, cells, captions = line
    height, width = next((cell.shape[:2] for cell in cells if cell is not None), (_LEAST, _LEAST))
    scale = max(1, -(-_LEAST // max(height, width)))  # the least whole factor that is enough
    shrunk = _MOST / max(height, width, _MOST)
    size = max(round(width * scale * shrunk), 1), max(round(height * scale * shrunk), 1)
    resample = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    shown = [None if cell is None else picture_of(cell).convert("RGB").resize(size, resample) for cell in cells]
    strips = [(size, shown)]
    if shrunk < 1:
        top, left = most_changed(cells, _CROP)
        cut = [None if cell is None else cell[top : top + _CROP, left : left + _CROP] for cell in cells]
        if shown[0] is not None:
            place = [round(edge * shrunk) for edge in (left, top, min(left + _CROP, width) - 1, min(top + _CROP, height) - 1)]
            ImageDraw.Draw(shown[0]).rectangle(place, outline="red")
        crops = [None if cell is None else picture_of(cell).convert("RGB") for cell in cut]
        strips.append(((min(_CROP, width), min(_CROP, height)), crops))
        label = f"{label}; below it the place that changed most, at its own size"
    return _Row(label, captions, strips)


def most_changed(cells: Cells, side: int) -> tuple[int, int]:
    """(top, left) of the square in which any picture differs most from the first, by the sum of absolute differences.

    Looked for in steps of an eighth of its side; one that lies partly outside is moved in.

    Example:
        >>> before = np.zeros((90, 300, 3), np.uint8)
        >>> after = before.copy()
        >>> after[:, 200:240] = 255
        >>> top, left = most_changed([before, after], 64)
        >>> top, left <= 200 and left + 64 >= 240
        (0, True)
    """
    first, *others = [cell for cell in cells if cell is not None]
    (height, width), step = first.shape[:2], side // 8
    blocks = []
    for top in range(0, height, step):  # strip by strip: all differences of a large picture would take gigabytes
        strip = first[top : top + step].astype(np.int32)
        changes = [np.abs(other[top : top + step] - strip).sum(axis=(0, 2)) for other in others or [first]]
        blocks.append(np.add.reduceat(np.max(changes, axis=0), np.arange(0, width, step)))
    sums = np.lib.stride_tricks.sliding_window_view(np.pad(np.stack(blocks), (0, 7)), (8, 8)).sum(axis=(2, 3))
    row, column = np.unravel_index(np.argmax(sums), sums.shape)
    return min(int(row) * step, max(height - side, 0)), min(int(column) * step, max(width - side, 0))


def _size(columns: Sequence[str], rows: Sequence[_Row]) -> tuple[int, int]:
    """Width and height of a band of rows, under the columns' names."""
    cell = max(width for row in rows for (width, _), _ in row.strips) + _GAP
    return cell * len(columns) + _GAP, 2 * _GAP + _CAPTION + sum(row.height for row in rows)


def _bands(columns: Sequence[str], rows: Sequence[_Row]) -> list[list[_Row]]:
    """The rows of a page in bands of about one height, side by side."""
    width, height = _size(columns, rows)
    count = min(math.ceil(height / _FAR), max(_FAR // width, 1))
    bands: list[list[_Row]] = [[] for _ in range(count)]
    before, whole = 0, sum(row.height for row in rows)
    for row in rows:
        bands[before * count // whole].append(row)
        before += row.height
    return [band for band in bands if band]


def _drawn(columns: Sequence[str], rows: Sequence[_Row], foot: str) -> Image.Image:
    width, bands = _size(columns, rows)[0], _bands(columns, rows)
    full, height = width * len(bands), max(_size(columns, band)[1] for band in bands)
    said = _wrapped(foot, full - 2 * _GAP)
    sheet = Image.new("RGB", (full, height + len(said) * _CAPTION), "white")
    for number, band in enumerate(bands):
        _draw(sheet, columns, band, number * width, width)
    for k, text in enumerate(said):
        _write(sheet, _GAP, height - _GAP + k * _CAPTION, text, "gray", full - 2 * _GAP)
    return sheet


def _draw(sheet: Image.Image, columns: Sequence[str], rows: Sequence[_Row], left: int, width: int) -> None:
    """Draws a band of rows from a place on."""
    cell = (width - _GAP) // len(columns)
    edges = [left + _GAP + i * cell for i in range(len(columns))]
    for edge, name in zip(edges, columns, strict=True):
        _write(sheet, edge, _GAP, name, "black", cell - _GAP)
    top = _GAP + _CAPTION
    for row in rows:
        _write(sheet, left + _GAP, top, row.label, "gray", width - 2 * _GAP)
        below = top + _CAPTION
        for k, ((_, height), pictures) in enumerate(row.strips):
            for i, (edge, picture) in enumerate(zip(edges, pictures, strict=True)):
                if picture is not None:
                    sheet.paste(picture, (edge, below))
                if k == 0:
                    _write(sheet, edge, below + height + 1, row.captions[i], "black", cell - _GAP)
            below += height + (_CAPTION if k == 0 else 0)
        top += row.height


@functools.cache
def _font() -> Any:
    return ImageFont.load_default(12)


def _write(sheet: Image.Image, x: int, y: int, text: str, colour: str, room: int) -> None:
    """A line of text, cut where there is no room for more."""
    text, font = printable(text), _font()
    while text and font.getlength(text) > room:
        text = text[:-2] + "…"
    ImageDraw.Draw(sheet).text((x, y), text, colour, font)


def _wrapped(text: str, room: int) -> list[str]:
    font = _font()
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
