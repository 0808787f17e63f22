"""A drawing of lines, areas, dots and words, as SVG and as a picture from the same parts."""

from __future__ import annotations

import html
import io
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

Point = tuple[float, float]
Colour = tuple[int, int, int]

_SCALE, _FONT = 2, 12  # pixels of the picture for one of the drawing, and the height of its words
_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}  # of SVG, and Pillow's


class Line(NamedTuple):
    """Points joined."""

    points: Sequence[Point]
    colour: Colour
    opacity: float = 1.0
    width: float = 1.0

    def svg(self) -> str:
        """As SVG."""
        drawn = f'stroke="{_hex(self.colour)}" stroke-opacity="{self.opacity:g}" stroke-width="{self.width:g}"'
        return f'<path d="{_path(self.points)}" fill="none" {drawn}/>'

    def draw(self, canvas: ImageDraw.ImageDraw) -> None:
        """On a picture."""
        canvas.line(_scaled(self.points), (*self.colour, round(255 * self.opacity)), max(1, round(self.width * _SCALE)), "curve")


class Area(NamedTuple):
    """A filled outline."""

    points: Sequence[Point]
    colour: Colour
    opacity: float = 0.15

    def svg(self) -> str:
        """As SVG."""
        return f'<path d="{_path(self.points)}Z" fill="{_hex(self.colour)}" fill-opacity="{self.opacity:g}"/>'

    def draw(self, canvas: ImageDraw.ImageDraw) -> None:
        """On a picture."""
        canvas.polygon(_scaled(self.points), (*self.colour, round(255 * self.opacity)))


class Dot(NamedTuple):
    """A disc, and its words on hovering."""

    at: Point
    radius: float
    colour: Colour
    said: str = ""

    def svg(self) -> str:
        """As SVG."""
        inside = f"<title>{html.escape(self.said)}</title>" if self.said else ""
        place = f'cx="{self.at[0]:.1f}" cy="{self.at[1]:.1f}" r="{self.radius:g}" fill="{_hex(self.colour)}"'
        return f"<circle {place}>{inside}</circle>"

    def draw(self, canvas: ImageDraw.ImageDraw) -> None:
        """On a picture."""
        x, y, r = (_SCALE * number for number in (*self.at, self.radius))
        canvas.ellipse((x - r, y - r, x + r, y + r), self.colour)


class Text(NamedTuple):
    """Words at their baseline; anchor is "start", "middle" or "end"."""

    at: Point
    words: str
    anchor: str = "middle"
    bold: bool = False

    def svg(self) -> str:
        """As SVG."""
        weight = "bold" if self.bold else "normal"
        place = f'x="{self.at[0]:.1f}" y="{self.at[1]:.1f}" text-anchor="{self.anchor}" font-weight="{weight}"'
        return f"<text {place}>{html.escape(self.words)}</text>"

    def draw(self, canvas: ImageDraw.ImageDraw) -> None:
        """On a picture."""
        font = ImageFont.load_default(_FONT * _SCALE)
        (at,) = _scaled([self.at])
        canvas.text(at, _in_ascii(self.words), "black", font, _ANCHORS[self.anchor])


Part = Line | Area | Dot | Text


class Drawing(NamedTuple):
    """Parts, the later above the earlier, on white.

    Attributes:
        title: what a reader is told that cannot see it.
        size: width and height.
        parts: of it.
    """

    title: str
    size: tuple[int, int]
    parts: Sequence[Part]

    def svg(self) -> str:
        """As an SVG element, or a file of it."""
        width, height = self.size
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
        )
        words = f'font-size="{_FONT}" font-family="sans-serif"><rect width="100%" height="100%" fill="#fff"/>'
        return f"{head} {words}<title>{html.escape(self.title)}</title>{''.join(part.svg() for part in self.parts)}</svg>"

    def png(self) -> bytes:
        """As a PNG file, at twice the size."""
        picture = Image.new("RGB", (self.size[0] * _SCALE, self.size[1] * _SCALE), "white")
        canvas = ImageDraw.Draw(picture, "RGBA")
        for part in self.parts:
            part.draw(canvas)
        file = io.BytesIO()
        picture.save(file, "PNG", optimize=True)
        return file.getvalue()


def _in_ascii(words: str) -> str:
    """Words in the letters that Pillow's own font has."""
    spelt = unicodedata.normalize("NFKD", words.replace("η", "eta").replace("–", "-"))
    return "".join(letter for letter in spelt if letter.isascii())


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _scaled(points: Sequence[Point]) -> list[Point]:
    return [(x * _SCALE, y * _SCALE) for x, y in points]
