"""Pieces of work (`code_jax.evaluation.piece`) done once, recorded, and read again."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from code_jax.cluster.cluster import Cluster
from code_jax.devices.mesh import devices_for
from code_jax.errors import UserError
from code_jax.evaluation.columns import COLUMNS
from code_jax.evaluation.entry import Entry
from code_jax.evaluation.measures import Yardstick, clipping, nearest_is_own
from code_jax.evaluation.piece import Maker, Piece
from code_jax.evaluation.pool import Pool, picked
from code_jax.evaluation.records import Record, Records
from code_jax.interruption import Interruption
from code_jax.pictures.arrays import from_uint8
from code_jax.priors.hash import prior_hash
from code_jax.priors.prior import Prior

SHOWN = 2  # pictures of a piece that are kept for the contact sheet
_BLOCK = 64  # pictures of a piece at most


_Made = Generator[tuple[Piece, Record], None, None]


@dataclasses.dataclass
class Workshop:
    """Does pieces of work.

    Attributes:
        prior: the prior.
        yardstick: what measures.
        records: where what is done is kept.
        keep: whether restored pictures are kept, so that what is measured later needs no rerun.
        seed: of corruptions, pictures and noise.
        micro_batch: images on a device at a time.
        label: of every picture, of a prior with classes; None is no class.
        cluster: who restores; None is this process.
    """

    prior: Prior
    yardstick: Yardstick
    records: Records
    seed: int
    micro_batch: int
    keep: bool = False
    label: int | None = None
    cluster: Cluster | None = None

    def __post_init__(self) -> None:
        self._weights = prior_hash(self.prior)
        self._maker = self.prior, self.seed, self.micro_batch, self.label
        self._galleries: dict[str, np.ndarray] = {}

    def pieces(self, method: Entry, corruption: str, severity: int, pool: Pool, count: int) -> list[Piece]:
        """The pieces of a method on the `count` pictures of a corruption."""
        indices, method = picked(pool, corruption, count, self.seed), method.told(corruption)
        return [Piece(method, corruption, severity, pool, indices[i : i + _BLOCK]) for i in range(0, count, _BLOCK)]

    def missing(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Those that no whole record is of."""
        return [piece for piece in pieces if self.records.read(self._path(piece)) is None]

    def batches(self, piece: Piece) -> int:
        """Network evaluations of a batch."""
        devices = devices_for(self.prior, -(-len(piece.indices) // self.micro_batch))
        return -(-piece.evaluations // (self.micro_batch * len(devices)))

    def do(self, pieces: Sequence[Piece], advance: Callable[[int], None], interruption: Interruption) -> Iterator[Piece]:
        """Does and records what is missing of the pieces; yields each that it did.

        advance: called with evaluations of a batch as they are done.
        interruption: looked at often: a first signal ends the work after the pieces at hand, a second within them.
        """
        with contextlib.closing(self._made(self.missing(pieces), advance, interruption)) as made:
            for piece, record in made:
                self.records.write(self._path(piece), self._measured(piece, record))
                yield piece

    def _made(self, pieces: Sequence[Piece], advance: Callable[[int], None], interruption: Interruption) -> _Made:
        """The restored pictures of pieces: those that were kept, then the others as they are made."""
        afresh = []
        for piece in pieces:
            kept = self.records.read(self._kept_path(piece))
            if kept is None:
                afresh.append(piece)
                continue
            advance(self.batches(piece))
            yield piece, kept
            if interruption.signal is not None:
                return
        make = self._by_workers if self.cluster else self._by_itself
        with contextlib.closing(make(afresh, advance, interruption)) as made:
            for piece, record in made:
                if self.keep:
                    self.records.write(self._kept_path(piece), record)
                yield piece, record

    def _by_itself(self, pieces: Sequence[Piece], advance: Callable[[int], None], interruption: Interruption) -> _Made:
        """Made by this process, one after another."""
        maker = Maker(*self._maker)
        for piece in pieces:
            total, told = self.batches(piece), [0]

            def after(share: float, total: int = total, told: list[int] = told) -> None:
                interruption.checkpoint()
                now = round(share * total)
                if now > told[0]:
                    advance(now - told[0])
                    told[0] = now

            yield piece, maker.make(piece, after)
            if interruption.signal is not None:
                return

    def _by_workers(self, pieces: Sequence[Piece], advance: Callable[[int], None], interruption: Interruption) -> _Made:
        """Made by a cluster's workers, as they come."""
        assert self.cluster is not None
        prior, *rest = self._maker
        given = self.cluster.put(jax.tree.map(np.asarray, prior)), *rest
        items = ((number, piece.alone) for number, piece in enumerate(pieces))
        with contextlib.closing(self.cluster.do(Maker, given, items, interruption)) as made:
            for (number, _), record in made:
                if record is None:
                    raise UserError(f"three workers died with {pieces[number].label}; what was recorded is whole")
                advance(self.batches(pieces[number]))
                yield pieces[number], record

    def read(self, pieces: Sequence[Piece]) -> Record:
        """The records of the pieces of one method and corruption, one after another; a missing one is a KeyError."""
        records = []
        for piece in pieces:
            record = self.records.read(self._path(piece))
            if record is None:
                raise KeyError(str(self._path(piece)))
            records.append(record)
        joined = {name: np.concatenate([r[name] for r in records], axis=1) for name in records[0] if records[0][name].ndim > 1}
        return joined | {"shown": records[0]["shown"], "memory": records[0]["memory"]}

    def _measured(self, piece: Piece, made: Record) -> Record:
        clean, labels, given = piece.pool.pixels[piece.indices], piece.pool.labels, piece.given(self.seed)
        images = np.where(made["finite"][..., None, None, None], np.asarray(from_uint8(made["pictures"])), np.nan)
        record = self.yardstick.measure(images, given, clean, None if labels is None else labels[piece.indices])
        record["rank1"] = nearest_is_own(self.yardstick.photo_features(images), self._gallery(piece.pool), piece.indices)
        record |= clipping(made.get("clipped"), len(images), given, clean, piece.corruption)
        record["shown"] = made["pictures"][:, :SHOWN]
        return record | {name: made[name] for name in ("nfe", "seconds", "memory")}

    def _gallery(self, pool: Pool) -> np.ndarray:
        """Features of all the pictures of a pool."""
        if pool.hash not in self._galleries:
            self._galleries[pool.hash] = self.yardstick.photo_features(np.asarray(from_uint8(pool.pixels))[None])[0]
        return self._galleries[pool.hash]

    def _kept_path(self, piece: Piece) -> Path:
        return self.records.path(f"pictures-{piece.label}", self._facts(piece))

    def _path(self, piece: Piece) -> Path:
        measured = {
            "labels": piece.pool.labels is not None,
            "columns": COLUMNS,
            "features": self.yardstick.features,
            "absent": sorted(self.yardstick.absent),
            "gallery": piece.pool.hash,
        }
        return self.records.path(piece.label, self._facts(piece) | measured)

    def _facts(self, piece: Piece) -> dict[str, Any]:
        """What the restored pictures depend on."""
        pixels = hashlib.sha256(piece.pool.pixels[piece.indices].tobytes()).hexdigest()
        return {
            "method": piece.method.facts(self.prior),
            "corruption": piece.corruption,
            "severity": piece.severity,
            "pictures": pixels,
            "seed": self.seed,
            "micro_batch": self.micro_batch,
            "prior": self._weights,
            "precision": str(getattr(getattr(self.prior.function, "network", None), "dtype", None)),
        } | ({} if self.label is None else {"label": self.label})
