"""Cells as rows: of ``results.csv``, of the paper's tables, and of the classifier's accuracy by family of corruptions."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from code_jax.corruptions.registry import ALL_NAMES, FAMILIES
from code_jax.editing import methods
from code_jax.evaluation.columns import CLIPPING, COLUMNS
from code_jax.evaluation.run import Cell
from code_jax.evaluation.statistics import Interval, Pairs, mean_and_deviation, paired, pooled_frechet
from code_jax.metrics import Moments


class Row(NamedTuple):
    """A method over all corruptions of one severity.

    Attributes:
        method: its name.
        columns: mean and standard deviation over corruptions of each of `COLUMNS`.
        frechet: of all results together.
        pictures, broken: how many results, and how many of them are not finite.
        settings: the distinct settings in words.
        nfe, memory, seconds: as of a `Cell`; the means over corruptions, of memory the most.
    """

    method: str
    columns: dict[str, tuple[float, float]]
    frechet: Interval
    pictures: int
    broken: int
    settings: tuple[str, ...]
    nfe: float
    memory: int
    seconds: float


def row_of(cells: Sequence[Cell], reference: Moments, resamples: int, seed: int) -> Row:
    """The row of a method's cells, one for each corruption."""
    columns = {name: mean_and_deviation([_mean(cell.values[name]) for cell in cells]) for name in COLUMNS}
    features = np.concatenate([cell.features for cell in cells])
    broken = sum(_broken(cell) for cell in cells)
    settings = tuple(dict.fromkeys(cell.setting for cell in cells if cell.setting))
    nfe, seconds = (float(np.mean([getattr(cell, name) for cell in cells])) for name in ("nfe", "seconds"))
    frechet, memory = pooled_frechet(features, reference, resamples, seed), max(cell.memory for cell in cells)
    return Row(cells[0].method, columns, frechet, len(features), broken, settings, nfe, memory, seconds)


def results_csv(cells: Sequence[Cell]) -> bytes:
    """A line for each cell: means over its pictures, empty where not measured; the seconds come last."""
    file = io.StringIO(newline="")
    table = csv.writer(file)
    table.writerow(
        [
            "protocol",
            "method",
            "severity",
            "corruption",
            "pictures",
            "not_finite",
            "setting",
            *COLUMNS,
            "nfe",
            "memory_bytes",
            "seconds",
        ]
    )
    for cell in cells:
        means = [_plain(_mean(cell.values[name])) for name in COLUMNS]
        counts = (len(cell.features), _broken(cell), cell.setting)
        table.writerow([*cell[:4], *counts, *means, f"{cell.nfe:g}", cell.memory, f"{cell.seconds:.4g}"])
    return file.getvalue().encode()


def family_accuracy(cells: Sequence[Cell]) -> dict[str, dict[str, float]]:
    """By family of corruptions and method, the share of pictures classed rightly; families without a cell are left out."""
    found: dict[str, dict[str, float]] = {}
    for family, names in (*FAMILIES.items(), ("all", ALL_NAMES)):
        within = [cell for cell in cells if cell.corruption in names]
        for method in dict.fromkeys(cell.method for cell in within):
            right = np.concatenate([cell.values["accuracy"] for cell in within if cell.method == method])
            found.setdefault(family, {})[method] = _mean(right)
    return found


def clipping_rates(cells: Sequence[Cell]) -> list[tuple[str, str, dict[str, float]]]:
    """(corruption, method, means of `CLIPPING`) of methods that clip and corruptions that cover, then means over corruptions."""
    found = [(cell.corruption, cell.method, {name: _mean(cell.values[name]) for name in CLIPPING}) for cell in cells]
    found = [line for line in found if np.isfinite(line[2]["corrupted"])]
    for method in dict.fromkeys(method for _, method, _ in found):
        mine = [rates for _, name, rates in found if name == method]
        found.append(("mean", method, {name: mean_and_deviation([rates[name] for rates in mine])[0] for name in CLIPPING}))
    return found


def differences(
    cells: Sequence[Cell], method: str, base: str, reference: Moments, resamples: int, seed: int
) -> dict[str, Interval]:
    """What a method has over another on the pictures of both, of each of `COLUMNS`, and of "frechet" in proportion."""
    own, other = ({cell.corruption: cell for cell in cells if cell.method == name} for name in (method, base))
    common = [name for name in own if name in other]
    both = [((own[name], other[name]), min(len(own[name].pictures), len(other[name].pictures))) for name in common]

    def joined(of: Callable[[Cell], np.ndarray], side: int) -> np.ndarray:
        return np.concatenate([of(pair[side])[:count] for pair, count in both])

    values = {name: np.stack([joined(lambda cell: cell.values[name], side) for side in (0, 1)]) for name in COLUMNS}  # noqa: B023
    features = np.stack([joined(lambda cell: cell.features, side) for side in (0, 1)])
    corruption = np.repeat(np.arange(len(both)), [count for *_, count in both])
    return paired(Pairs(corruption, joined(lambda cell: cell.pictures, 0), values, features), reference, resamples, seed)


def title_of(name: str) -> str:
    """A row's name in a table."""
    rows = methods.rows()
    return rows[name][1].title if name in rows else {"clean": "clean sources"}.get(name, name)


def _broken(cell: Cell) -> int:
    return int(np.isnan(cell.values["psnr_source"]).sum())


def _mean(values: np.ndarray) -> float:
    """Mean of the values that are not NaN."""
    measured = values[~np.isnan(values)].astype(np.float64)
    return float(measured.mean()) if len(measured) else float("nan")


def _plain(value: float) -> Any:
    return "" if np.isnan(value) else f"{value:.6g}"
