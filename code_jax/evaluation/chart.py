"""A chart: lines with bands, named axes, and each point's words on hovering."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from code_jax.evaluation.drawing import Area, Dot, Drawing, Line, Part, Point, Text
from code_jax.pictures.scatter_plot import colour_of, ticks

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 720, 420, 70, 40, 210, 55  # pixels: the picture, and its margins
_GRAY = (228, 228, 228)


class Spot(NamedTuple):
    """A point, the ends of its interval (NaN: none), and its words."""

    x: float
    y: float
    low: float = math.nan
    high: float = math.nan
    said: str = ""


def chart(title: str, x_label: str, y_label: str, series: Mapping[str, Sequence[Spot]], x_names: Sequence[str] = ()) -> Drawing:
    """Named series, each a line in the order given with a band where there are intervals; what is not finite is left out.

    x_names: what is written at x = 0, 1, 2, … instead of numbers.
    """
    drawn = {name: [spot for spot in spots if math.isfinite(spot.x) and math.isfinite(spot.y)] for name, spots in series.items()}
    every = [spot for spots in drawn.values() for spot in spots] or [Spot(0.0, 0.0)]
    xs = [float(k) for k in range(len(x_names))] if x_names else ticks([spot.x for spot in every])
    xs = xs if len(xs) > 1 else [xs[0], xs[0] + 1]
    ys = ticks([value for spot in every for value in (spot.y, spot.low, spot.high) if math.isfinite(value)])

    def place(x: float, y: float) -> Point:
        across, up = (x - xs[0]) / (xs[-1] - xs[0]), (y - ys[0]) / (ys[-1] - ys[0])
        return _LEFT + across * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)

    parts: list[Part] = [Text((_LEFT, 16), title, "start", bold=True), Text((_LEFT, 32), y_label, "start")]
    parts.append(Text(((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 12), x_label))
    for k, x in enumerate(xs):
        across, foot = place(x, ys[0])
        parts += [Line([place(x, ys[0]), place(x, ys[-1])], _GRAY)]
        parts += [Text((across, foot + 16), x_names[k] if k < len(x_names) else f"{x:g}")]
    for y in ys:
        side, up = place(xs[0], y)
        parts += [Line([place(xs[0], y), place(xs[-1], y)], _GRAY), Text((side - 6, up + 4), f"{y:g}", "end")]
    for k, (name, spots) in enumerate(drawn.items()):
        colour = colour_of(k, len(drawn))
        banded = [spot for spot in spots if math.isfinite(spot.low) and math.isfinite(spot.high)]
        if len(banded) > 1:
            edge = [place(s.x, s.high) for s in banded] + [place(s.x, s.low) for s in reversed(banded)]
            parts.append(Area(edge, colour))
        parts += [Line([place(s.x, s.low), place(s.x, s.high)], colour, 0.5) for s in banded]
        if len(spots) > 1:
            parts.append(Line([place(s.x, s.y) for s in spots], colour, 1.0, 1.5))
        parts += [Dot(place(s.x, s.y), 4, colour, f"{name}: {s.said}" if s.said else name) for s in spots]
        row = _TOP + 8 + 18 * k
        parts += [Dot((_WIDTH - _RIGHT + 16, row), 5, colour), Text((_WIDTH - _RIGHT + 26, row + 4), name, "start")]
    width = max(_WIDTH, _WIDTH - _RIGHT + 34 + round(6.6 * max(map(len, drawn), default=0)))  # the longest name in the legend
    height = max(_HEIGHT, _TOP + 26 + 18 * len(drawn))
    return Drawing(title, (width, height), parts)
