"""Pieces of work: one method at its settings on the pictures of one corruption, and who restores them."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from code_jax.editing.memory import program_memory
from code_jax.evaluation.entry import Entry, restored
from code_jax.evaluation.pool import Pool, corrupted
from code_jax.evaluation.records import Record
from code_jax.priors.prior import Prior


class Piece(NamedTuple):
    """A method with the settings to run it at, a corruption and its severity, and which pictures of which pool."""

    method: Entry
    corruption: str
    severity: int
    pool: Pool
    indices: np.ndarray

    @property
    def label(self) -> str:
        """What people call it."""
        return f"{self.method.name}-{self.corruption}-{self.severity}"

    @property
    def evaluations(self) -> int:
        """Network evaluations in all, encodings not shared."""
        return len(self.indices) * sum(choice.nfe for choice in self.method.choices)

    @property
    def alone(self) -> Piece:
        """The same pictures, of a pool that has no others."""
        return self._replace(pool=Pool(self.pool.pixels[self.indices], None), indices=np.arange(len(self.indices)))

    def given(self, seed: int) -> np.ndarray:
        """The corrupted pictures, uint8 [B, S, S, 3]."""
        return corrupted(self.pool.pixels[self.indices], self.corruption, self.severity, seed)


@dataclasses.dataclass
class Maker:
    """Restores the pictures of pieces; a worker of a cluster, too.

    Attributes:
        prior: the prior.
        seed: of corruptions, pictures and noise.
        micro_batch: images on a device at a time.
        label: of every picture, of a prior with classes; None is no class.
    """

    prior: Prior
    seed: int
    micro_batch: int
    label: int | None = None
    size = 1  # pieces of a call

    def __post_init__(self) -> None:
        self._memory: dict[str, int] = {}
        self._computing = threading.Lock()

    def make(self, piece: Piece, after: Callable[[float], None]) -> Record:
        """The restored pictures, of 8 bits as files hold them; `after` is called with the share that is done."""
        entry = piece.method
        source = piece.pool.pixels[piece.indices] if entry.name == "clean" else piece.given(self.seed)
        if entry.name not in self._memory:
            self._memory[entry.name] = self._program_memory(entry)
        found = restored(entry, self.prior, source, self.seed, self.micro_batch, after, self.label)
        made: Record = {name: value for name, value in found._asdict().items() if value is not None}
        return made | {"memory": np.array(self._memory[entry.name])}

    def work(self, items: list[tuple[int, Piece]]) -> list[Record]:
        """What is made of numbered pieces."""
        with self._computing:
            return [self.make(piece, lambda share: None) for _, piece in items]

    def _program_memory(self, entry: Entry) -> int:
        """Of the largest of the programs."""
        firsts = [next(choices).whole for _, choices in itertools.groupby(entry.choices, lambda choice: choice.settings)]
        return max((program_memory(self.prior, whole, self.micro_batch) for whole in firsts if whole is not None), default=0)
