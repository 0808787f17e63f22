"""A chart as SVG: lines with bands, named axes, and each point's words on hovering."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from code_jax.pictures.scatter_plot import colour_of, ticks

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 720, 420, 70, 40, 210, 55  # pixels: the picture, and its margins


class Spot(NamedTuple):
    """A point, the ends of its interval (NaN: none), and its words."""

    x: float
    y: float
    low: float = math.nan
    high: float = math.nan
    said: str = ""


def chart(title: str, x_label: str, y_label: str, series: Mapping[str, Sequence[Spot]], x_names: Sequence[str] = ()) -> str:
    """SVG of named series, each a line in the order given with a band where there are intervals; what is not finite is left out.

    x_names: what is written at x = 0, 1, 2, … instead of numbers.
    """
    drawn = {name: [spot for spot in spots if math.isfinite(spot.x) and math.isfinite(spot.y)] for name, spots in series.items()}
    every = [spot for spots in drawn.values() for spot in spots] or [Spot(0.0, 0.0)]
    xs = [float(k) for k in range(len(x_names))] if x_names else ticks([spot.x for spot in every])
    xs = xs if len(xs) > 1 else [xs[0], xs[0] + 1]
    ys = ticks([value for spot in every for value in (spot.y, spot.low, spot.high) if math.isfinite(value)])

    def place(x: float, y: float) -> str:
        across, up = (x - xs[0]) / (xs[-1] - xs[0]), (y - ys[0]) / (ys[-1] - ys[0])
        return f"{_LEFT + across * (_WIDTH - _LEFT - _RIGHT):.1f},{_HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM):.1f}"

    width = max(_WIDTH, _WIDTH - _RIGHT + 34 + round(6.6 * max(map(len, drawn), default=0)))  # the longest name in the legend
    size = f'viewBox="0 0 {width} {_HEIGHT}" width="{width}" height="{_HEIGHT}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-size="12" font-family="sans-serif">']
    parts.append('<rect width="100%" height="100%" fill="#fff"/>')
    parts.append(f"<title>{html.escape(title)}</title>" + _text(_LEFT, 16, title, "start", "bold"))
    parts.append(_text(_LEFT, 32, y_label, "start") + _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 12, x_label))
    for k, x in enumerate(xs):
        at = place(x, ys[0]).split(",")
        parts.append(f'<path d="M{place(x, ys[0])}L{place(x, ys[-1])}" stroke="#e4e4e4"/>')
        parts.append(_text(float(at[0]), float(at[1]) + 16, x_names[k] if k < len(x_names) else f"{x:g}"))
    for y in ys:
        at = place(xs[0], y).split(",")
        parts.append(f'<path d="M{place(xs[0], y)}L{place(xs[-1], y)}" stroke="#e4e4e4"/>')
        parts.append(_text(float(at[0]) - 6, float(at[1]) + 4, f"{y:g}", "end"))
    for k, (name, spots) in enumerate(drawn.items()):
        colour = "#{:02x}{:02x}{:02x}".format(*colour_of(k, len(drawn)))
        banded = [spot for spot in spots if math.isfinite(spot.low) and math.isfinite(spot.high)]
        if len(banded) > 1:
            edge = [place(s.x, s.high) for s in banded] + [place(s.x, s.low) for s in reversed(banded)]
            parts.append(f'<path d="M{"L".join(edge)}Z" fill="{colour}" fill-opacity="0.15"/>')
        parts += [f'<path d="M{place(s.x, s.low)}L{place(s.x, s.high)}" stroke="{colour}" stroke-opacity="0.5"/>' for s in banded]
        if len(spots) > 1:
            parts.append(
                f'<path d="M{"L".join(place(s.x, s.y) for s in spots)}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
            )
        for spot in spots:
            across, up = place(spot.x, spot.y).split(",")
            words = html.escape(f"{name}: {spot.said}" if spot.said else name)
            parts.append(f'<circle cx="{across}" cy="{up}" r="4" fill="{colour}"><title>{words}</title></circle>')
        row = _TOP + 8 + 18 * k
        parts.append(f'<circle cx="{_WIDTH - _RIGHT + 16}" cy="{row}" r="5" fill="{colour}"/>')
        parts.append(_text(_WIDTH - _RIGHT + 26, row + 4, name, "start"))
    return "".join(parts) + "</svg>"


def _text(x: float, y: float, words: str, anchor: str = "middle", weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{html.escape(words)}</text>'
