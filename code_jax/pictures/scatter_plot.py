"""A scatter plot with named axes, drawn with Pillow: a colour for each series, a line at a value that means something."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 760, 520, 80, 50, 190, 60  # pixels: the picture, and its margins
_DARK, _MIDDLE, _LIGHT = (68, 1, 84), (33, 145, 140), (253, 200, 37)  # from the first series to the last

Point = tuple[float, float]


def scatter_plot(
    title: str, x_label: str, y_label: str, series: Mapping[str, Sequence[Point]], line: tuple[float, str] | None = None
) -> Image.Image:
    """Draws points (x, y) of named series, joined within each; a point that is not finite is left out.

    Args:
        title, x_label, y_label: what is shown, with units.
        series: points by name.
        line: a y to mark and what it means.
    """
    finite = {name: [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)] for name, points in series.items()}
    every = [point for points in finite.values() for point in points] or [(0.0, 0.0)]
    xs, ys = ticks([x for x, _ in every]), ticks([y for _, y in every] + ([line[0]] if line else []))
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    font, small = ImageFont.load_default(14), ImageFont.load_default(12)
    picture = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    draw = ImageDraw.Draw(picture)

    def place(x: float, y: float) -> Point:
        across, up = (x - xs[0]) / (xs[-1] - xs[0]), (y - ys[0]) / (ys[-1] - ys[0])
        return _LEFT + across * (right - _LEFT), bottom - up * (bottom - _TOP)

    for x in xs:
        at, _ = place(x, ys[0])
        draw.line((at, _TOP, at, bottom), "#e8e8e8")
        draw.text((at, bottom + 6), f"{x:g}", "black", small, anchor="mt")
    for y in ys:
        _, at = place(xs[0], y)
        draw.line((_LEFT, at, right, at), "#e8e8e8")
        draw.text((_LEFT - 6, at), f"{y:g}", "black", small, anchor="rm")
    draw.rectangle((_LEFT, _TOP, right, bottom), outline="black")
    draw.text((_LEFT, 10), title, "black", font)
    draw.text((_LEFT, 30), y_label, "black", small)
    draw.text(((_LEFT + right) / 2, _HEIGHT - 20), x_label, "black", small, anchor="mm")
    if line:
        _, at = place(xs[0], line[0])
        draw.line((_LEFT, at, right, at), "gray")
        draw.text((_LEFT + 6, at + (10 if at < _TOP + 20 else -10)), line[1], "gray", small, anchor="lm")
    for k, (name, points) in enumerate(finite.items()):
        colour, spots = colour_of(k, len(finite)), [place(*point) for point in points]
        draw.line(spots, colour, 1)
        for x, y in spots:
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), colour)
        row = _TOP + 8 + 18 * k
        if row < bottom - 18:
            draw.ellipse((right + 8, row, right + 16, row + 8), colour)
            draw.text((right + 22, row + 4), name, "black", small, anchor="lm")
    return picture


def ticks(values: Sequence[float]) -> list[float]:
    """Round numbers, about six, that hold the values between the first and the last."""
    low, high = min(values), max(values)
    span = high - low or abs(high) or 1.0
    power = 10 ** math.floor(math.log10(span / 5))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= span / 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [float(f"{k * step:.10g}") for k in range(first, max(last, first + 1) + 1)]


def colour_of(k: int, count: int) -> tuple[int, int, int]:
    """The colour (red, green, blue) of series k of so many."""
    share = 2 * k / max(count - 1, 1)
    low, high = (_DARK, _MIDDLE) if share <= 1 else (_MIDDLE, _LIGHT)
    red, green, blue = (round(a + (share - (share > 1)) * (b - a)) for a, b in zip(low, high, strict=True))
    return red, green, blue
