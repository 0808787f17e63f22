"""The pictures of a run's share, as they come."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from code_jax.errors import UserError
from code_jax.progress import Progress
from code_jax.runs.listing import Listing, Source
from code_jax.runs.shards import Shard
from code_jax.storage.address import Place
from code_jax.storage.whole import clean


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Pictures whose results go to a place.

    Attributes:
        sources: the pictures of all shares; a listing is gone through as it comes.
        out: the output folder.
        shard: which of them are taken.
    """

    sources: Sequence[Source] | Listing
    out: Place
    shard: Shard

    def __iter__(self) -> Iterator[Source]:
        """The pictures; before the first of a folder is given, the folder is there, and clean of what killed runs left."""
        entered: set[Place] = set()
        for source in self.held():
            try:
                folder = (self.out / source.name).parent
            except UserError as error:  # a name of a disk that no object can have
                yield source._replace(problem=str(error))
                continue
            if folder not in entered:
                entered.add(folder)
                if isinstance(self.sources, Listing):
                    folder.mkdir(parents=True, exist_ok=True)
                if self.shard.is_whole:
                    clean(folder)
            yield source

    @property
    def number(self) -> int | None:
        """How many there are; of a listing it is not known."""
        return None if isinstance(self.sources, Listing) else sum(1 for _ in self.held())

    @property
    def at_hand(self) -> bool:
        """Whether all are files of this machine."""
        return not isinstance(self.sources, Listing) and all(isinstance(source.path, Path) for source in self.sources)

    def held(self) -> Iterator[Source]:
        """Those of the share."""
        return (source for source in self.sources if self.shard.holds(source.name))

    def progress(self, samples: int, done: int) -> Progress:
        """A progress in results, of which `done` are there; a listing is counted by a thread of its own, meanwhile."""
        progress = Progress(None)

        def count() -> None:
            try:
                left = max(sum(samples for _ in self.held()) - done, 0)
            except (OSError, UserError):  # what the run itself will meet, and say
                return
            progress.expect(left, left)

        if self.number is None:
            threading.Thread(target=count, daemon=True).start()
        else:
            count()
        return progress
