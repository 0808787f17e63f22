"""A page of sliders, each between a picture and its result: one file that opens offline, worked by mouse, finger or keys."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from code_jax.errors import printable
from code_jax.pictures.arrays import picture_of
from code_jax.storage.address import Place
from code_jax.storage.whole import write

_LEAST = 320  # pixels of a shown side: small pictures are enlarged by whole factors
_LOSSLESS = 2**18  # pixels, beyond which a picture is kept with little loss, so that the page stays small
_MOST_BYTES = 2**28  # of a page that browsers still open at ease

_STYLE = """
.slide{margin:0 0 2em;max-width:100%;color:#222}.slide figcaption{margin-bottom:.4em}
.slide div{position:relative;overflow:auto;max-width:100%}
.slide img{display:block;max-width:none;position:absolute;top:0;left:0}.slide .pixels img{image-rendering:pixelated}
.slide span{display:block;position:relative}.slide input{display:block;margin:.4em 0;max-width:100%}
.slide small{color:#555}"""
_MOVE = "this.closest('figure').querySelector('.after').style.clipPath='inset(0 0 0 '+this.value+'%)'"
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>code_jax: before and after</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:1300px;padding:0 1em;background:#fff;color:#222}}
.slides{{display:flex;flex-wrap:wrap;align-items:flex-end;gap:0 2em}}.slides figcaption{{contain:inline-size}}
{style}</style>
<main><h1>Before and after</h1>
<p>Left of the slider is the input, right of it the result.</p>
{failed}<div class="slides">
{slides}</div>
{more}<p><small>{foot}</small></p></main>
</html>
"""


class Slide(NamedTuple):
    """A picture and its result, uint8 [H, W, C] of one size, with a name and a caption."""

    name: str
    before: np.ndarray
    after: np.ndarray
    caption: str


def write_page(slides: Iterable[Slide], path: Place, foot: str, failed: Sequence[tuple[str, str]] = ()) -> None:
    """Writes the page; what would make it too large for a browser is left out and said.

    failed: names of the pictures that have no result, and why.
    """
    parts: list[str] = []
    size = left_out = 0
    for slide in slides:
        part = "" if size > _MOST_BYTES else slide_html(slide)
        size, left_out = size + len(part), left_out + (not part)
        parts.append(part)
    more = f"<p>{left_out} more are not shown: the page would be too large.</p>\n" if left_out else ""
    named = "".join(f"<li>{_safe(name)}: {_safe(why)}</li>\n" for name, why in failed)
    without = f"<section><h2>Without a result</h2>\n<ul>\n{named}</ul></section>\n" if named else ""
    page = _PAGE.format(style=_STYLE, failed=without, slides="".join(parts), more=more, foot=_safe(foot))
    write(path, page.encode())


def slide_html(slide: Slide) -> str:
    """A slider as HTML."""
    height, width = slide.before.shape[:2]
    scale = max(1, -(-_LEAST // max(height, width)))
    size = f'width="{width * scale}" height="{height * scale}"'
    name, caption = _safe(slide.name), _safe(slide.caption)
    return f"""<figure class="slide"><figcaption>{name} <small>{width}×{height}, {caption}</small></figcaption>
<div tabindex="0"><span class="{"pixels" if scale > 1 else ""}" style="width:{width * scale}px;height:{height * scale}px">
<img alt="input" {size} src="{_data_url(slide.before)}"><img class="after" alt="result" {size}
style="clip-path:inset(0 0 0 50%)" src="{_data_url(slide.after)}"></span></div>
<input type="range" value="50" style="width:{width * scale}px" aria-label="share of {name} that is the input" oninput="{_MOVE}">
</figure>
"""


def styled(part: str) -> str:
    """A part of a page with the style that it needs, for a notebook."""
    return f"<style>{_STYLE}</style>{part}"


def _safe(text: str) -> str:
    return html.escape(printable(text))


def _data_url(pixels: np.ndarray) -> str:
    file, lossless = io.BytesIO(), pixels.shape[0] * pixels.shape[1] <= _LOSSLESS
    kind, options = ("png", {}) if lossless else ("webp", {"quality": 92})
    picture_of(pixels).save(file, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
