"""Pieces of work: one method at its points on the pictures of one corruption; done once, recorded, read again."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from code_jax.devices.mesh import devices_for
from code_jax.editing.memory import program_memory
from code_jax.evaluation.columns import COLUMNS
from code_jax.evaluation.entry import Entry, restored
from code_jax.evaluation.measures import Yardstick, clipping, nearest_is_own
from code_jax.evaluation.pool import Pool, corrupted, picked
from code_jax.evaluation.records import Record, Records
from code_jax.pictures.arrays import from_uint8
from code_jax.priors.hash import prior_hash
from code_jax.priors.prior import Prior

SHOWN = 2  # pictures of a piece that are kept for the contact sheet
_BLOCK = 64  # pictures of a piece at most


class Piece(NamedTuple):
    """A method with the settings to run it at, a corruption and its severity, and which pictures of which pool."""

    method: Entry
    corruption: str
    severity: int
    pool: Pool
    indices: np.ndarray

    @property
    def evaluations(self) -> int:
        """Network evaluations in all, encodings not shared."""
        return len(self.indices) * sum(choice.nfe for choice in self.method.choices)


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
    """

    prior: Prior
    yardstick: Yardstick
    records: Records
    seed: int
    micro_batch: int
    keep: bool = False
    label: int | None = None

    def __post_init__(self) -> None:
        self._weights = prior_hash(self.prior)
        self._memory: dict[str, int] = {}
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
        return joined | {"shown": records[0]["shown"], "memory": records[0]["memory"]}

    def _measured(self, piece: Piece, after: Callable[[float], None]) -> Record:
        clean, labels = piece.pool.pixels[piece.indices], piece.pool.labels
        given = corrupted(clean, piece.corruption, piece.severity, self.seed)
        made = self._made(piece, clean if piece.method.name == "clean" else given, after)
        images = np.where(made["finite"][..., None, None, None], np.asarray(from_uint8(made["pictures"])), np.nan)
        record = self.yardstick.measure(images, given, clean, None if labels is None else labels[piece.indices])
        record["rank1"] = nearest_is_own(self.yardstick.photo_features(images), self._gallery(piece.pool), piece.indices)
        record |= clipping(made.get("clipped"), len(images), given, clean, piece.corruption)
        record["shown"] = made["pictures"][:, :SHOWN]
        return record | {name: made[name] for name in ("nfe", "seconds", "memory")}

    def _made(self, piece: Piece, source: np.ndarray, after: Callable[[float], None]) -> Record:
        """The restored pictures, made or as they were kept, of 8 bits as files hold them."""
        path = self.records.path(f"pictures-{self._label(piece)}", self._facts(piece))
        kept = self.records.read(path)
        if kept is not None:
            after(1.0)
            return kept
        if piece.method.name not in self._memory:
            self._memory[piece.method.name] = self._program_memory(piece.method)
        found = restored(piece.method, self.prior, source, self.seed, self.micro_batch, after, self.label)
        made: Record = {name: value for name, value in found._asdict().items() if value is not None}
        made["memory"] = np.array(self._memory[piece.method.name])
        if self.keep:
            self.records.write(path, made)
        return made

    def _program_memory(self, entry: Entry) -> int:
        """Of the largest of the programs."""
        firsts = [next(choices).whole for _, choices in itertools.groupby(entry.choices, lambda choice: choice.settings)]
        return max((program_memory(self.prior, whole, self.micro_batch) for whole in firsts if whole is not None), default=0)

    def _gallery(self, pool: Pool) -> np.ndarray:
        """Features of all the pictures of a pool."""
        if pool.hash not in self._galleries:
            self._galleries[pool.hash] = self.yardstick.photo_features(np.asarray(from_uint8(pool.pixels))[None])[0]
        return self._galleries[pool.hash]

    def _label(self, piece: Piece) -> str:
        return f"{piece.method.name}-{piece.corruption}-{piece.severity}"

    def _path(self, piece: Piece) -> Any:
        measured = {
            "labels": piece.pool.labels is not None,
            "columns": COLUMNS,
            "features": self.yardstick.features,
            "absent": sorted(self.yardstick.absent),
            "gallery": piece.pool.hash,
        }
        return self.records.path(self._label(piece), self._facts(piece) | measured)

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
