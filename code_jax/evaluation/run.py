"""An evaluation from its order to its cells: tuning first, then the reported pictures, opened once."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from code_jax.corruptions.registry import NAMES
from code_jax.errors import UserError
from code_jax.evaluation.entry import Entry
from code_jax.evaluation.piece import Piece
from code_jax.evaluation.pool import Pool
from code_jax.evaluation.protocol import PROTOCOLS, blind, folds, oracle
from code_jax.evaluation.records import Record
from code_jax.evaluation.workshop import Workshop
from code_jax.interruption import Dropped, Interruption
from code_jax.progress import Progress


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to evaluate.

    Attributes:
        methods: entries of the tables.
        corruptions: names.
        severities: the first is that of the tables, all are that of the curves.
        images: pictures for each corruption.
        costly_images: of them, how many an entry of very many evaluations gets.
        protocols: "oracle", "blind".
        tuning_images: pictures for each corruption to choose settings on.
        etas: η's of CODE's curve, infinity for none; empty is no curve.
    """

    methods: tuple[Entry, ...]
    corruptions: tuple[str, ...]
    severities: tuple[int, ...] = (5,)
    images: int = 8
    costly_images: int = 8
    protocols: tuple[str, ...] = ("oracle", "blind")
    tuning_images: int = 1
    etas: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for protocol in self.protocols:
            if protocol not in PROTOCOLS:
                raise UserError(f"protocol {protocol!r} is unknown; choose from {', '.join(PROTOCOLS)}")
        if self.tunes and not all(folds(self.corruptions)):
            raise UserError(
                "the blind protocol chooses settings on the other fold's corruptions, and these are all of one; "
                f"add one, such as {_other_fold(self.corruptions)}, or give grids of one setting"
            )

    @property
    def tunes(self) -> tuple[Entry, ...]:
        """The methods whose setting is to be chosen blindly."""
        return tuple(m for m in self.methods if len(m.choices) > 1) if "blind" in self.protocols else ()

    def count(self, method: Entry) -> int:
        """Pictures for each corruption."""
        return self.costly_images if method.costly else self.images


class Cell(NamedTuple):
    """What a method does to the pictures of a corruption under a protocol: of each picture, at the setting chosen for it.

    Attributes:
        protocol, method, severity, corruption: which.
        values: `COLUMNS` by name, [B].
        features: [B, D].
        shown: the first pictures uint8 [S, H, W, 3].
        setting: the chosen one in words, or how many the oracle chose from.
        nfe: evaluations of an image at the chosen setting, the mean.
        memory: bytes of the program.
        seconds: of an image at the chosen setting, the mean.
        pictures: which of the pool they are, int [B].
    """

    protocol: str
    method: str
    severity: int
    corruption: str
    values: dict[str, np.ndarray]
    features: np.ndarray
    shown: np.ndarray
    setting: str
    nfe: float
    memory: int
    seconds: float
    pictures: np.ndarray


class Setting(NamedTuple):
    """A point of a method's grid on all pictures: mean L2 to the input over corruptions, pooled features, and its words."""

    method: str
    line: str
    said: str
    l2_input: float
    features: np.ndarray


class Results(NamedTuple):
    """What an evaluation gives: the tables' cells, the settings of every grid that was run whole, the curve over η, choices."""

    cells: list[Cell]
    settings: list[Setting]
    eta_curve: list[tuple[float, list[Cell]]]
    chosen: dict[str, tuple[str, str]]


def evaluate(order: Plan, workshop: Workshop, data: Pool, tuning: Pool | None, interruption: Interruption) -> Results | None:
    """Does what is missing, and gathers the results; None if interrupted.

    Raises:
        UserError: where settings are to be chosen and there is no tuning pool.
    """
    if order.tunes and tuning is None:
        raise UserError("the blind protocol chooses settings on tuning pictures: give --tuning, or one value for each axis")
    run = _Run(order, workshop, data, tuning, interruption)
    with contextlib.suppress(Dropped):
        if run.work():
            return run.results()
    return None


class _Run:
    def __init__(self, order: Plan, workshop: Workshop, data: Pool, tuning: Pool | None, interruption: Interruption) -> None:
        self.order, self.workshop, self.data, self.interruption = order, workshop, data, interruption
        self.tuning = tuning
        self.folds = folds(order.corruptions)

    def work(self) -> bool:
        """Tunes and tests; False if interrupted."""
        tuning = [piece for method in self.order.tunes for name in self.order.corruptions for piece in self._tuning(method, name)]
        missing = self.workshop.missing(tuning)
        self.chosen = {} if missing else self._choose()
        test = self._tested()
        todo = missing + (test if missing else self.workshop.missing(test))
        total = sum(map(self.workshop.batches, todo))
        self.progress = Progress(total)
        if not self._do(tuning):
            return False
        self.chosen = self._choose()
        return self._do(self._tested())

    def results(self) -> Results:
        """Reads the records."""
        order = self.order
        cells = [
            self._cell(protocol, method, name, severity)
            for protocol in order.protocols
            for method in order.methods
            for severity in order.severities
            for name in order.corruptions
        ]
        curve = [
            (
                eta,
                [self._cell("blind", self._at_eta(eta, name), name, order.severities[0]) for name in order.corruptions],
            )
            for eta in order.etas
        ]
        words = {
            method.name: tuple(method.said(self._number(method, fold[0]), self.workshop.prior) for fold in self.folds if fold)
            for method in order.methods
        }
        return Results(cells, self._settings(), curve, {name: (both[0], both[-1]) for name, both in words.items()})

    def _do(self, pieces: Sequence[Piece]) -> bool:
        for _ in self.workshop.do(pieces, self.progress.advance, self.interruption):
            pass
        return self.interruption.signal is None

    def _tuning(self, method: Entry, corruption: str) -> list[Piece]:
        assert self.tuning is not None
        return self.workshop.pieces(method, corruption, self.order.severities[0], self.tuning, self.order.tuning_images)

    def _choose(self) -> dict[str, tuple[int, int]]:
        """For each method that is tuned, the point for each fold's corruptions, chosen on the other's."""
        chosen = {}
        for method in self.order.tunes:
            scores = {name: self.workshop.read(self._tuning(method, name))["psnr_source"] for name in self.order.corruptions}
            first, second = (blind({name: scores[name] for name in fold}) for fold in self.folds)
            chosen[method.name] = second, first
        return chosen

    def _number(self, method: Entry, corruption: str) -> int:
        """Of the choice that the blind protocol reports on a corruption; 0 before there is one."""
        return self.chosen.get(method.name, (0, 0))[corruption in self.folds[1]]

    def _whole(self, method: Entry, corruption: str) -> Entry:
        """What is run on the reported pictures: all choices if the oracle looks at them, else the one that is reported."""
        return method if "oracle" in self.order.protocols else method.at(method.choices[self._number(method, corruption)])

    def _pieces(self, method: Entry, corruption: str, severity: int) -> list[Piece]:
        return self.workshop.pieces(method, corruption, severity, self.data, self.order.count(method))

    def _tested(self) -> list[Piece]:
        order = self.order
        tables = [
            piece
            for method in order.methods
            for severity in order.severities
            for name in order.corruptions
            for piece in self._pieces(self._whole(method, name), name, severity)
        ]
        curve = [
            piece
            for eta in order.etas
            for name in order.corruptions
            for piece in self._pieces(self._at_eta(eta, name), name, order.severities[0])
        ]
        return tables + curve

    def _at_eta(self, eta: float, corruption: str) -> Entry:
        """The last entry that clips, at its blind setting, with another η."""
        clipping = [entry for entry in self.order.methods if entry.clips]
        if not clipping:
            raise UserError("the curve over eta is of a method that clips; add one to --methods, or leave out --eta-curve")
        choice = clipping[-1].choices[self._number(clipping[-1], corruption)]
        numbers = tuple(each for each in choice.point.numbers if each[0] != "eta")
        point = dataclasses.replace(choice.point, numbers=(*numbers, ("eta", eta)))
        return clipping[-1].at(choice._replace(point=point))

    def _cell(self, protocol: str, method: Entry, corruption: str, severity: int) -> Cell:
        ran = self._whole(method, corruption) if len(method.choices) > 1 else method
        pieces = self._pieces(ran, corruption, severity)
        record, images = self.workshop.read(pieces), sum(len(piece.indices) for piece in pieces)
        number = self._number(method, corruption) if len(method.choices) > 1 else 0
        best, words = np.full(images, number if len(ran.choices) > 1 else 0), method.said(number, self.workshop.prior)
        if protocol == "oracle" and len(method.choices) > 1:
            best, words = oracle(record["psnr_source"]), f"best of {len(method.choices)} for each image"
        rows = np.arange(images)
        values = {name: record[name][best, rows] for name in record if record[name].ndim == 2}
        shown = record["shown"][best[: record["shown"].shape[1]], rows[: record["shown"].shape[1]]]
        cost = float(values.pop("nfe").mean()), int(record["memory"]), float(values.pop("seconds").mean())
        pictures = np.concatenate([piece.indices for piece in pieces])
        where = (protocol, method.name, severity, corruption)
        return Cell(*where, values, record["features"][best, rows], shown, words, *cost, pictures)

    def _settings(self) -> list[Setting]:
        """Each point of each grid on all pictures: the reported ones where the oracle ran the grid on them, else the tuning's."""
        found = []
        for method in self.order.methods:
            whole = len(method.choices) == 1 or "oracle" in self.order.protocols
            reader = (lambda m, name: self._pieces(m, name, self.order.severities[0])) if whole else self._tuning
            records = [self.workshop.read(reader(method, name)) for name in self.order.corruptions]
            found += [self._setting(method, k, records) for k in range(len(method.choices))]
        return found

    def _setting(self, method: Entry, k: int, records: Sequence[Record]) -> Setting:
        fidelity = float(np.nanmean([np.nanmean(record["l2_input"][k]) for record in records]))
        features = np.concatenate([record["features"][k] for record in records])
        choices, own = method.choices, method.choices[k]
        alike = [other for other in choices if (other.settings, other.point.numbers[:1]) == (own.settings, own.point.numbers[:1])]
        level = own.point.numbers[:1] if 1 < len(alike) < len(choices) else ()
        line = "".join(f", {name} {value:g}" for name, value in level)
        words = method.said(k, self.workshop.prior)
        return Setting(method.name, method.name + line, words, fidelity if math.isfinite(fidelity) else 0.0, features)


def _other_fold(corruptions: Sequence[str]) -> str:
    """A corruption of the fold that these are not in."""
    first, second = folds(NAMES)
    return second[0] if set(corruptions) <= set(first) else first[0]
