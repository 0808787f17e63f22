"""What a sweep leaves on disk: a picture for every cell, ``sweep.csv``, labelled contact sheets, and a plot."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from code_jax.durable import write_durably
from code_jax.editing.points import SweepPoint
from code_jax.editing.result import EditInfo
from code_jax.metrics import psnr, ssim
from code_jax.pictures.arrays import from_uint8, picture_of
from code_jax.pictures.contact_sheet import Line, contact_sheets, write_sheets
from code_jax.pictures.files import write_picture
from code_jax.pictures.provenance import png_text
from code_jax.pictures.scatter_plot import scatter_plot
from code_jax.runs.commands import command_of
from code_jax.runs.result import psnr_of_codec
from code_jax.storage.address import Place


class Swept(NamedTuple):
    """One input of a sweep and what became of it at each of the P points.

    Attributes:
        path: its file.
        name: for its cells.
        pixels: as the prior sees it, uint8 [H, W, 3].
        digest: their SHA-256.
        reference: its clean source, shaped as it; None where there is none.
        images: uint8 [P, H, W, 3].
        info: arrays [P].
    """

    path: Place
    name: str
    pixels: np.ndarray
    digest: str
    reference: np.ndarray | None
    images: np.ndarray
    info: EditInfo


def write_report(
    out: Path, inputs: Sequence[Swept], points: Sequence[SweepPoint], plain: Sequence[Mapping[str, Any]], seed: int,
    facts_of: Callable[[int, str], dict[str, Any]],
) -> list[dict[str, Any]]:  # fmt: skip
    """Writes everything and returns the rows of ``sweep.csv``, one for each point of each input.

    Args:
        out: the folder.
        inputs: with what became of them.
        points: the P points.
        plain: their settings (`code_jax.editing.settings.to_plain`).
        seed: the run's, to which a point's is added.
        facts_of: what ``code-jax restore`` would note of a point, by its number, and of pixels of a SHA-256.
    """
    rows = []
    for swept in inputs:
        metrics = {
            f"{name}_{other}": metric(swept.images, pixels)
            for other, pixels in (("input", swept.pixels), ("reference", swept.reference))
            for name, metric in (("psnr", _psnr), ("ssim", _ssim))
            if pixels is not None
        }
        for p, point in enumerate(points):
            cell = out / "cells" / swept.name / f"{p:04d}.png"
            finite = bool(swept.info.finite[p])
            facts = facts_of(p, swept.digest)
            if finite:
                write_picture(picture_of(swept.images[p]), cell, png_text(facts))
            rows.append(
                {"input": str(swept.path), "point": p}
                | _numbers(point, plain[p], seed)
                | {name: _number(values[p]) if finite else "" for name, values in metrics.items()}
                | {
                    "clipped": _number(swept.info.clipped[p]),
                    "squared_score": _number(swept.info.squared_score[p]),
                    "finite": finite,
                    "nfe": int(swept.info.nfe[p]),
                }
                | _codec(swept.info.codec_error[p])
                | {
                    "micro_batch": facts["micro_batch"],
                    "output": str(cell) if finite else "",
                    "command": command_of(facts, str(swept.path), out=str(out / "reproduced" / f"{p:04d}")),
                }
            )
    axes = [*reversed(dict(points[0].numbers)), "seed"]
    _write_csv(out / "sweep.csv", rows)
    write_sheets(_sheets(inputs, rows, axes), out)
    write_picture(_plot(rows, axes), out / "plot.png")
    return rows


def _numbers(point: SweepPoint, plain: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The axes as they were given, then the settings' numbers; η = ∞ is none, and str of a float gives it back exactly."""
    given = {name: "none" if math.isinf(value) else value for name, value in point.numbers}
    numbers = {name: value for name, value in plain.items() if name in ("sigma", "relative_step", "eta", "anneal_rate")}
    return given | {name: value for name, value in numbers.items() if name not in given} | {"seed": seed + point.seed}


def _codec(error: Any) -> dict[str, Any]:
    """What a latent prior's codec alone gives back of the input."""
    psnr = psnr_of_codec(float(error))
    return {} if psnr is None else {"psnr_codec": _number(psnr)}


def _psnr(images: np.ndarray, reference: np.ndarray) -> np.ndarray:
    return np.asarray(psnr(from_uint8(images), from_uint8(np.broadcast_to(reference, images.shape))))


def _ssim(images: np.ndarray, reference: np.ndarray) -> np.ndarray:
    return np.asarray(ssim(from_uint8(images), from_uint8(np.broadcast_to(reference, images.shape))))


def _number(value: Any) -> float | str:
    return "" if np.isnan(value) else float(f"{float(value):.6g}")


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO(newline="")
    table = csv.DictWriter(file, names, restval="")
    table.writeheader()
    table.writerows(rows)
    write_durably(path, file.getvalue())


def _varied(rows: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> dict[str, list[Any]]:
    """The axes with several values."""
    values = {name: list(dict.fromkeys(row[name] for row in rows)) for name in axes}
    return {name: found for name, found in values.items() if len(found) > 1}


def _said(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """Axes with their values: "depth 0.4, eta 1.7"."""
    shown = {name: row[name] if isinstance(row[name], str) else f"{row[name]:.4g}" for name in names}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items())


def _sheets(inputs: Sequence[Swept], rows: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> Iterator[Image.Image]:
    """Pages of cells: across, the first axis that varies; down, what is left of the grid, for each input."""
    varied = _varied(rows, axes)
    across = next(iter(varied), axes[0])
    down = [name for name in varied if name != across]
    columns = list(dict.fromkeys(row[across] for row in rows))
    table: dict[tuple[Any, ...], dict[Any, Mapping[str, Any]]] = {}
    for row in rows:
        table.setdefault((row["input"], *(row[name] for name in down)), {})[row[across]] = row
    names = ["input", *(_said({across: value}, [across]) for value in columns)]
    of_input = {str(swept.path): i for i, swept in enumerate(inputs)}

    def line(cells: Mapping[Any, Mapping[str, Any]]) -> Line:
        given = next(iter(cells.values()))
        i = of_input[given["input"]]
        pictures = [inputs[i].images[row["point"]] if row["finite"] else None for row in cells.values()]
        label = [inputs[i].name] * (len(inputs) > 1) + [_said(given, down)] * bool(down)
        captions = [_caption(row) for row in cells.values()]
        return ", ".join(label), [inputs[i].pixels, *pictures], [_given(given), *captions]

    return contact_sheets(names, map(line, table.values()))


def _caption(row: Mapping[str, Any]) -> str:
    if not row["finite"]:
        return "not finite"
    clean = f", clean {row['psnr_reference']:.1f}" if "psnr_reference" in row else ""
    return f"{row['psnr_input']:.1f} dB, {row['ssim_input']:.2f}{clean}"


def _given(row: Mapping[str, Any]) -> str:
    return "PSNR, SSIM to it" + (", PSNR clean" if "psnr_reference" in row else "")


def _step(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in ("relative_step", "step_size"))


def _plot(rows: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> Image.Image:
    """Realism against fidelity of each setting, the mean over inputs and seeds; lines join what differs in step size."""
    names = [name for name in _varied(rows, axes) if name not in ("step_size", "relative_step", "seed")]
    points: dict[str, dict[tuple[Any, ...], list[tuple[float, float]]]] = {}
    for row in rows:
        if row["finite"] and row["squared_score"] != "":
            group = points.setdefault(_said(row, names) or "all", {})
            group.setdefault(_step(row), []).append((row["psnr_input"], row["squared_score"]))
    series = {
        name: [(sum(x for x, _ in of) / len(of), sum(y for _, y in of) / len(of)) for of in group.values()]
        for name, group in points.items()
    }
    return scatter_plot(
        "Realism against fidelity",
        "fidelity: PSNR to the input, dB",
        "realism: squared score of the corrected latent, times its noise variance",
        series,
        (1.0, "1: typical of the prior"),
    )
