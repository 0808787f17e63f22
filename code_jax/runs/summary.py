"""What a run did, in numbers and as a contact sheet."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from code_jax.pictures.contact_sheet import contact_sheet
from code_jax.pictures.files import read_picture, write_picture
from code_jax.pictures.loading import PictureError
from code_jax.runs.job import Job
from code_jax.runs.manifest import Line
from code_jax.runs.result import psnr_to
from code_jax.runs.sources import Source, result_names

SHEET_ROWS = 40


@dataclasses.dataclass
class Summary:
    """What a run did.

    Attributes:
        done: results made.
        kept: results of an earlier run that hold.
        failed: inputs, or samples of them, that failed, now or in an earlier run.
        seconds: of the whole run.
        waited: share of the time since the first batch began in which the device had nothing to do.
        nfe: network evaluations an image.
        before, after: PSNR to the clean source, of each result that has one.
        fidelity: PSNR to its input, of each result that differs from it.
        diversity: `diversity_of` the samples of each input that has several.
        signal: of an interruption.
    """

    done: int = 0
    kept: int = 0
    failed: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    nfe: int = 0
    before: list[float] = dataclasses.field(default_factory=list)
    after: list[float] = dataclasses.field(default_factory=list)
    fidelity: list[float] = dataclasses.field(default_factory=list)
    diversity: list[float] = dataclasses.field(default_factory=list)
    signal: int | None = None

    def count(self, line: Line) -> None:
        """Adds what a line of the manifest says, but not to `done` or `kept`."""
        self.failed += line["status"] == "failed"
        if "psnr" in line:
            self.before.append(line["psnr"][0])
            self.after.append(line["psnr"][1])
        if line.get("psnr_input") is not None:
            self.fidelity.append(line["psnr_input"])


def diversity_of(lines: Sequence[Line], out: Path) -> float | None:
    """`code_jax.metrics.diversity` of an input's samples as their files have them; None if one has gone.

    Computed on the host, so that no size compiles anything.
    """
    try:
        samples = [read_picture(out / line["output"], None, "resize").astype(float) / 127.5 for line in lines]
    except PictureError:
        return None
    return float(np.mean([np.sqrt(np.mean((a - b) ** 2)) for a, b in itertools.combinations(samples, 2)]))


def write_sheet(
    sources: Iterable[Source], outputs: Mapping[str, Mapping[int, str]], out: Path, shape: tuple[int, int, int], job: Job
) -> None:
    """Writes ``contact_sheet.png``: input, results and clean source of the first pictures that have a result, read from files.

    outputs: of each name (relative, without ending) the samples' files.
    """
    fit = "resize" if job.fit == "tile" else job.fit
    rows: list[tuple[str, list[np.ndarray | None], list[str]]] = []
    for source in sources:
        files = outputs.get(source.output.relative_to(out).as_posix())
        if files and len(rows) < SHEET_ROWS:
            clean = None if source.reference is None else _picture(source.reference, shape, fit)
            results = [
                _picture(out / files[sample], shape, "resize") if sample in files else None for sample in range(job.samples)
            ]
            cells = [_picture(source.path, shape, fit), *results]
            captions = ["" if clean is None or cell is None else f"{psnr_to(clean, cell):.1f} dB" for cell in cells]
            rows.append((source.path.name, [*cells, clean], [*captions, ""]))
    if not rows:
        return
    columns = ["input", *(["result"] if job.samples == 1 else result_names("sample", job.samples)), "clean source"]
    if all(cells[-1] is None for _, cells, _ in rows):
        columns, rows = columns[:-1], [(label, cells[:-1], captions[:-1]) for label, cells, captions in rows]
    write_picture(contact_sheet([column.replace("_", " ") for column in columns], rows), out / "contact_sheet.png")


def _picture(path: Path, shape: Sequence[int], fit: str) -> np.ndarray | None:
    try:
        pixels = read_picture(path, (shape[0], shape[1], 3), fit)
    except PictureError:  # it went since it was restored; its cell stays empty
        return None
    return pixels
