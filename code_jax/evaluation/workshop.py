"""Pieces of work: one method at its points on the pictures of one corruption; done once, recorded, read again."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from code_jax.devices.mesh import devices_for
from code_jax.evaluation.measures import COLUMNS, Yardstick, clipping
from code_jax.evaluation.method import Method, program_memory, restored
from code_jax.evaluation.pool import Pool, corrupted, picked
from code_jax.evaluation.records import Record, Records
from code_jax.pictures.arrays import to_uint8
from code_jax.priors.hash import prior_hash
from code_jax.priors.prior import Prior

SHOWN = 2  # pictures of a piece that are kept for the contact sheet
_BLOCK = 64  # pictures of a piece at most


class Piece(NamedTuple):
    """A method with the points to run it at, a corruption and its severity, and which pictures of which pool."""

    method: Method
    corruption: str
    severity: int
    pool: Pool
    indices: np.ndarray

    @property
    def evaluations(self) -> int:
        """Network evaluations in all, encodings not shared."""
        return len(self.indices) * len(self.method.points) * self.method.nfe


@dataclasses.dataclass
class Workshop:
    """Does pieces of work.

    Attributes:
        prior: the prior.
        yardstick: what measures.
        records: where what is done is kept.
        corruptions: of the table, in order: a corruption's place decides its pictures.
        seed: of corruptions, pictures and noise.
        micro_batch: images on a device at a time.
    """

    prior: Prior
    yardstick: Yardstick
    records: Records
    corruptions: Sequence[str]
    seed: int
    micro_batch: int

    def __post_init__(self) -> None:
        self._weights = prior_hash(self.prior)
        self._memory: dict[str, int] = {}

    def pieces(self, method: Method, corruption: str, severity: int, pool: Pool, count: int) -> list[Piece]:
        """The pieces of a method on the `count` pictures of a corruption."""
        indices = picked(pool, self.corruptions.index(corruption), count, self.seed)
        return [Piece(method, corruption, severity, pool, indices[i : i + _BLOCK]) for i in range(0, count, _BLOCK)]

    def missing(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Those that no whole record is of."""
        return [piece for piece in pieces if self.records.read(self._path(piece)) is None]

    def batches(self, piece: Piece) -> int:
        """Network evaluations of a batch."""
        devices = devices_for(self.prior, -(-len(piece.indices) // self.micro_batch))
        return -(-piece.evaluations // (self.micro_batch * len(devices)))

    def do(self, pieces: Sequence[Piece], advance: Callable[[int], None], checkpoint: Callable[[], None]) -> Iterator[Piece]:
        """Does and records what is missing of the pieces; yields each that it did.

        advance: called with evaluations of a batch as they are done.
        checkpoint: called often; an exception from it gives up the piece at hand.
        """
        for piece in self.missing(pieces):
            total, told = self.batches(piece), [0]

            def after(share: float, total: int = total, told: list[int] = told) -> None:
                checkpoint()
                now = round(share * total)
                if now > told[0]:
                    advance(now - told[0])
                    told[0] = now

            self.records.write(self._path(piece), self._measured(piece, after))
            yield piece

    def read(self, pieces: Sequence[Piece]) -> Record:
        """The records of the pieces of one method and corruption, one after another; a missing one is a KeyError."""
        records = []
        for piece in pieces:
            record = self.records.read(self._path(piece))
            if record is None:
                raise KeyError(str(self._path(piece)))
            records.append(record)
        joined = {name: np.concatenate([r[name] for r in records], axis=1) for name in records[0] if records[0][name].ndim > 1}
        seconds = np.asarray(np.mean([record["seconds"] for record in records]))
        return joined | {"shown": records[0]["shown"], "memory": records[0]["memory"], "seconds": seconds}

    def _measured(self, piece: Piece, after: Callable[[float], None]) -> Record:
        clean, labels = piece.pool.pixels[piece.indices], piece.pool.labels
        given = corrupted(clean, piece.corruption, piece.severity, self.seed)
        if piece.method.name not in self._memory:
            self._memory[piece.method.name] = program_memory(piece.method, self.prior, self.micro_batch)
        begun = time.monotonic()
        source = clean if piece.method.name == "clean" else given
        images, clipped = restored(piece.method, self.prior, source, self.seed, self.micro_batch, after)
        seconds = (time.monotonic() - begun) / (images.shape[0] * images.shape[1])
        record = self.yardstick.measure(images, given, clean, None if labels is None else labels[piece.indices])
        record |= clipping(clipped, len(images), given, clean, piece.corruption)
        record["shown"] = np.asarray(to_uint8(np.nan_to_num(images[:, :SHOWN], nan=-1.0)))
        return record | {"seconds": np.array(seconds), "memory": np.array(self._memory[piece.method.name])}

    def _path(self, piece: Piece) -> Any:
        pixels = hashlib.sha256(piece.pool.pixels[piece.indices].tobytes()).hexdigest()
        facts = {
            "method": piece.method.facts(),
            "corruption": piece.corruption,
            "severity": piece.severity,
            "pictures": pixels,
            "labels": piece.pool.labels is not None,
            "seed": self.seed,
            "micro_batch": self.micro_batch,
            "prior": self._weights,
            "precision": str(getattr(getattr(self.prior.function, "network", None), "dtype", None)),
            "columns": COLUMNS,
            "features": self.yardstick.features,
            "absent": sorted(self.yardstick.absent),
        }
        return self.records.path(f"{piece.method.name}-{piece.corruption}-{piece.severity}", facts)
