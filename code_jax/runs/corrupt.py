"""Corrupting files: a result and a line of the manifest for each picture and corruption."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from code_jax.corruptions.registry import corrupt, picture_seed
from code_jax.durable import write_durably
from code_jax.errors import UserError, printable
from code_jax.pictures.arrays import picture_of
from code_jax.pictures.contact_sheet import contact_sheet, contact_sheets, write_sheets
from code_jax.pictures.files import open_picture, write_picture
from code_jax.pictures.fitting import eight_bits, resized
from code_jax.pictures.loading import PictureError
from code_jax.pictures.provenance import png_text
from code_jax.progress import Progress
from code_jax.runs.folder import claimed
from code_jax.runs.lines import Line, read_objects
from code_jax.runs.listing import Source
from code_jax.runs.sources import check_output
from code_jax.storage.address import absolute

_SHEETS = 8  # pictures that are shown
_CELL, _COLUMNS = 256, 8  # pixels of a picture on a sheet at most, and pictures in a row


def corrupt_files(
    sources: Sequence[Source], out: Path, names: Sequence[str], severity: int, seed: int, *, compare: bool = False
) -> tuple[int, int]:
    """Damages pictures in every way named; gray ones stay gray.

    Args:
        sources: the pictures, of `code_jax.runs.sources.find_sources`.
        out: folder for the results, of several ways in a sub-folder each, and for ``manifest.jsonl``.
        names: of corruptions.
        severity: 1 to 5.
        seed: of the run; with the pixels it decides what is random.
        compare: write contact sheets of the first pictures.

    Returns:
        How many pictures were damaged, and how many failed, each named on stderr.

    Raises:
        UserError: before anything is written, if that would replace what this command did not make of the same inputs.
    """
    folders = {name: out / name if len(names) > 1 else out for name in names}
    places = [{name: folder / source.name for name, folder in folders.items()} for source in sources]
    settings = {"corruption": list(names), "severity": severity, "seed": seed}
    results = [
        source._replace(name=path.relative_to(out).as_posix())
        for source, paths in zip(sources, places, strict=True)
        for path in paths.values()
    ]
    check_output(out, results, "corrupt", settings=settings)
    shown: list[_Damaged] = []
    done = 0
    progress = Progress(len(sources), len(sources), preparing=None)
    with claimed(out, "corrupt", settings), _Manifest(out) as manifest:
        for result in results:
            manifest.check(result)
        for source, paths in zip(sources, places, strict=True):
            try:
                damaged = _damaged(source, names, severity, seed)
            except (PictureError, UserError) as error:
                print(printable(f"code-jax: failed {str(source.path)!r}: {error}"), file=sys.stderr)
                manifest.add(source, {"output": None, "status": "failed", "error": str(error)})
            else:
                for name, pixels in damaged.results.items():
                    facts = {"corruption": name, "severity": severity, "seed": seed, "picture_seed": damaged.seed}
                    path = Path(f"{paths[name]}.png")
                    write_picture(picture_of(pixels), path, png_text(facts))
                    manifest.add(source, {"output": path.relative_to(out).as_posix(), "status": "done"} | facts)
                done += 1
                if compare and len(shown) < _SHEETS:
                    shown.append(damaged)
            progress.advance(1)
        write_sheets(_sheets(shown), out)
    return done, len(sources) - done


class _Damaged(NamedTuple):
    """A picture uint8 [H, W, 1 or 3], what became of it by corruption, and the seed of that."""

    label: str
    clean: np.ndarray
    results: dict[str, np.ndarray]
    seed: int


def _damaged(source: Source, names: Sequence[str], severity: int, seed: int) -> _Damaged:
    if source.problem is not None:
        raise PictureError(source.problem)
    pixels = open_picture(source.path).pixels
    clean = eight_bits(pixels, pixels.shape[2])
    own = picture_seed(seed, clean)
    return _Damaged(source.path.name, clean, {name: corrupt(clean, name, severity, own) for name in names}, own)


class _Manifest:
    """``manifest.jsonl``: a line for each result or failed input, those of earlier runs included."""

    def __init__(self, out: Path) -> None:
        self._out, self._path = out, out / "manifest.jsonl"
        self._lines: dict[Any, Line] = {}
        for line in read_objects(self._path):
            if isinstance(line.get("input"), str) and isinstance(line.get("output", 0), str | None):
                self._hold(line)

    def __enter__(self) -> _Manifest:
        self._file = open(self._path, "a", encoding="utf-8")
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        write_durably(self._path, "".join(json.dumps(line) + "\n" for line in self._lines.values()).encode())

    def check(self, result: Source) -> None:
        """Raises UserError if a result of another input, which is still there, has the place of this one."""
        name, mine = f"{result.name}.png", absolute(result.path)
        owner = self._lines.get(name, {}).get("input", mine)
        if owner != mine and os.path.exists(owner):
            raise UserError(f"{str(self._out / name)!r} is made of {owner!r}, not of {mine!r}; choose another --out")

    def add(self, source: Source, facts: Mapping[str, Any]) -> None:
        """Adds a line, at once."""
        line = {"input": absolute(source.path), **facts}
        self._hold(line)
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def _hold(self, line: Line) -> None:
        failure = (line["input"], "failed")
        self._lines.pop(failure, None)
        self._lines[failure if line["output"] is None else line["output"]] = line


def _sheets(shown: Sequence[_Damaged]) -> Iterator[Image.Image]:
    """A row for each picture, where the results fit into one; else a grid for each."""
    stages = ["input", *shown[0].results] if shown else []
    if len(stages) <= _COLUMNS:
        yield from contact_sheets(stages, [(each.label, _cells(each), [""] * len(stages)) for each in shown])
        return
    blank = [""] * (-len(stages) % _COLUMNS)
    for each in shown:
        cells, names = [*_cells(each, _CELL), *[None] * len(blank)], [*stages, *blank]
        lines = [("", cells[k : k + _COLUMNS], names[k : k + _COLUMNS]) for k in range(0, len(cells), _COLUMNS)]
        yield contact_sheet([each.label, *[""] * (_COLUMNS - 1)], lines)


def _cells(damaged: _Damaged, most: int | None = None) -> list[np.ndarray]:
    """Input and results, their longer side at most so long."""
    height, width = damaged.clean.shape[:2]
    scale = min(1.0, (most or math.inf) / max(height, width))
    size = max(round(height * scale), 1), max(round(width * scale), 1)
    return [resized(pixels, size) for pixels in (damaged.clean, *damaged.results.values())]
