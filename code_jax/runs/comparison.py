"""A run's pictures side by side: ``contact_sheet.png``, and ``report.html`` with a slider for each; all is read from files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from code_jax.pictures.contact_sheet import Line as SheetLine
from code_jax.pictures.contact_sheet import contact_sheets, write_sheets
from code_jax.pictures.files import read_picture
from code_jax.pictures.fitting import region, resized
from code_jax.pictures.loading import PictureError
from code_jax.runs.job import Job
from code_jax.runs.lines import Line
from code_jax.runs.listing import Source
from code_jax.runs.slider_page import Slide, write_page
from code_jax.runs.sources import result_names
from code_jax.storage.address import Place

_SAMPLES = 8  # of a picture that are shown
_NOT_SHOWN = ("schema",)

Samples = Mapping[int, Line]  # lines of the manifest by sample


class Compared(NamedTuple):
    """An input, its results and its clean source, uint8 [H, W, 3] of one size; None is what has gone or never was.

    Attributes:
        name: the input's.
        before: as much of the input as the prior was shown.
        results: of the samples, with their captions.
        clean: the clean source.
        caption: of the input.
    """

    name: str
    before: np.ndarray
    results: list[tuple[np.ndarray | None, str]]
    clean: np.ndarray | None
    caption: str


def write_comparison(
    sources: Iterable[Source], done: Mapping[str, Samples], failed: Sequence[tuple[str, str]], out: Place,
    image_shape: tuple[int, int, int], job: Job,
) -> None:  # fmt: skip
    """Writes the contact sheets, and the page where the job asks for a report.

    done: lines of the results that there are, by name (relative, without ending) and sample.
    failed: names of the pictures that have no result, and why.
    """
    samples = min(job.samples, _SAMPLES)
    columns = ["input", *(["result"] if job.samples == 1 else result_names("sample", samples)), "clean source"]
    columns = [column.replace("_", " ") for column in columns[: None if any(source.reference for source in sources) else -1]]
    said = settings_of(job)

    def compared() -> Iterator[Compared]:
        for source in sources:
            lines = done.get(source.name)
            found = lines and _compared(source, lines, out, image_shape, job.fit, samples)
            if found:
                yield found

    write_sheets(contact_sheets(columns, (_sheet_line(each, len(columns)) for each in compared()), said), out)
    if job.report:
        slides = (
            Slide(f"{each.name}{f', sample {k}' if samples > 1 else ''}", each.before, result, caption)
            for each in compared()
            for k, (result, caption) in enumerate(each.results, 1)
            if result is not None
        )
        write_page(slides, out / "report.html", said, failed)


def settings_of(job: Job) -> str:
    """A job's settings in words."""
    shown = {name: value for name, value in job.settings.items() if name not in _NOT_SHOWN} | {"seed": job.seed}
    return "; ".join(f"{name.replace('_', ' ')} {_said(value)}" for name, value in shown.items())


def caption_of(line: Mapping[str, Any]) -> str:
    """What a line of the manifest says of its result: PSNR of the pixels that were restored, not of what is shown."""
    if "psnr" in line:
        return f"{line['psnr'][1]:.1f} dB to the clean source"
    return f"{line['psnr_input']:.1f} dB to the input" if line.get("psnr_input") is not None else "the input as it was"


def _compared(
    source: Source, lines: Samples, out: Place, image_shape: tuple[int, int, int], fit: str, samples: int
) -> Compared | None:
    try:
        before = _shown_part(source.path, image_shape, fit)
    except PictureError:  # it went since it was restored
        return None
    results = [_result(out, lines.get(sample)) for sample in range(samples)]
    larger = max((result.shape[k] / before.shape[k] for result, _ in results if result is not None for k in (0, 1)), default=1)
    size = tuple(max(round(side * max(larger, 1)), 1) for side in before.shape[:2])  # of the original's proportions
    first = next(iter(lines.values()))
    caption = f"{first['psnr'][0]:.1f} dB to the clean source" if "psnr" in first else ""
    clean = None
    if source.reference is not None and "psnr" in first:
        clean = _clean(source.reference, image_shape, fit)
    return Compared(
        source.path.name,
        resized(before, size),
        [(None if result is None else resized(result, size), said) for result, said in results],
        None if clean is None else resized(clean, size),
        caption,
    )


def _shown_part(path: Place, image_shape: tuple[int, int, int], fit: str) -> np.ndarray:
    pixels = read_picture(path, None, fit)
    left, top, right, bottom = region(pixels.shape, image_shape, fit)
    return pixels[top:bottom, left:right]


def _result(out: Place, line: Line | None) -> tuple[np.ndarray | None, str]:
    try:
        return (None, "") if line is None else (read_picture(out / line["output"], None, "resize"), caption_of(line))
    except PictureError:
        return None, ""


def _clean(path: Place, image_shape: tuple[int, int, int], fit: str) -> np.ndarray | None:
    try:
        return _shown_part(path, image_shape, fit)
    except PictureError:
        return None


def _sheet_line(compared: Compared, columns: int) -> SheetLine:
    pictures = [compared.before, *(result for result, _ in compared.results), compared.clean]
    captions = [compared.caption, *(caption for _, caption in compared.results), ""]
    return compared.name, pictures[:columns], captions[:columns]


def _said(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
