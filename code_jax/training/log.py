"""``losses.csv`` and its chart: a row a checkpoint, a loss a noise level."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from code_jax.durable import write_durably
from code_jax.pictures.files import write_picture
from code_jax.pictures.scatter_plot import scatter_plot

_FIRST = ("step", "pictures", "seconds", "train_loss", "validation_loss")


class Log:
    """The losses of a training in `folder`; rows after the step that it goes on from are dropped.

    Args:
        folder: of the training.
        levels: σ of the columns.
        first: the step that the training goes on from.
    """

    def __init__(self, folder: Path, levels: Sequence[float], first: int) -> None:
        self._path, self._chart = folder / "losses.csv", folder / "losses.png"
        self._columns = (*_FIRST, *(f"sigma_{sigma:g}" for sigma in levels))
        self._rows: list[list[float]] = []
        if self._path.is_file():
            with open(self._path, errors="replace") as file:
                rows = [_numbers(line.split(",")) for line in file]
            self._rows = [row for row in rows if len(row) == len(self._columns) and row[0] <= first]
        self._before = self._rows[-1][2] if self._rows else 0.0

    def write(self, step: int, pictures: int, seconds: float, train_loss: float, losses: np.ndarray) -> None:
        """Adds a row and draws the chart anew; seconds go on from those of the runs before.

        Raises:
            OSError: if it cannot be written.
        """
        self._rows.append([step, pictures, round(self._before + seconds, 1), train_loss, float(losses.mean()), *losses])
        text = io.StringIO(newline="")
        csv.writer(text).writerows([self._columns, *([f"{value:.7g}" for value in row] for row in self._rows)])
        write_durably(self._path, text.getvalue().encode())
        self.draw()

    def draw(self) -> None:
        """The chart: how much each level's loss has fallen since, over the second half of the pictures."""
        last = self._rows[-1]
        late = [row for row in self._rows if row[1] >= last[1] / 2]
        series = {
            name.replace("_", " "): [(row[1], 100 * (row[k] / last[k] - 1)) for row in late]
            for k, name in enumerate(self._columns)
            if k >= len(_FIRST)
        }
        title = f"validation losses on the way to {last[1]:g} pictures"
        write_picture(scatter_plot(title, "pictures", "% above the last", series, (1.0, "1 %")), self._chart)


def _numbers(row: list[str]) -> list[float]:
    """A row's numbers; of the titles, or a row that was spoilt, none."""
    try:
        numbers = [float(value) for value in row]
    except ValueError:
        return []
    return numbers if np.isfinite(numbers).all() else []
