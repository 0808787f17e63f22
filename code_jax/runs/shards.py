"""A share of the inputs: which of several processes restores which of them, agreed upon without a word between them."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from code_jax.errors import UserError
from code_jax.runs.lock import locked
from code_jax.storage.address import Address, Place

_WHOLE = "manifest.jsonl"
LOCK = f".{_WHOLE}.lock"
"""Of an output folder, whichever command writes into it."""


@dataclasses.dataclass(frozen=True)
class Shard:
    """The `index`-th of `count` shares, counted from 1.

    Whose an input is comes from a hash of its result's name relative to the output folder: processes that are given the same
    inputs agree on it, wherever these are mounted, and an input that is added or missing moves no other.

    Example:
        >>> shares = [Shard(index, 3) for index in (1, 2, 3)]
        >>> [[name for name in ("a", "b", "c", "d") if share.holds(name)] for share in shares]
        [[], ['a', 'b'], ['c', 'd']]
    """

    index: int = 1
    count: int = 1

    @property
    def is_whole(self) -> bool:
        """Whether there is one share, of everything."""
        return self.count == 1

    @property
    def manifest(self) -> str:
        """Name of its manifest."""
        return _WHOLE if self.is_whole else f"manifest.{self.index}-of-{self.count}.jsonl"

    def holds(self, name: str) -> bool:
        """Whether the input whose result has this name is in this share."""
        return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8]) % self.count == self.index - 1

    @contextlib.contextmanager
    def locked(self, out: Place) -> Iterator[None]:
        """Holds its part of an output folder: shares work side by side, the whole and each share by itself alone.

        Below an address nothing needs to be held (`code_jax.runs.parts`).

        Raises:
            UserError: names the process that holds it.
        """
        with contextlib.ExitStack() as stack:
            if isinstance(out, Address):
                yield
                return
            stack.enter_context(locked(out / LOCK, shared=not self.is_whole))
            if not self.is_whole:
                stack.enter_context(locked(out / f".{self.manifest}.lock"))
            yield


WHOLE = Shard()


def manifests(out: Path) -> list[Path]:
    """The manifests in an output folder: of the whole, then of shares of any number."""
    return [out / _WHOLE, *sorted(out.glob("manifest.*-of-*.jsonl"))]


def from_jax() -> Shard:
    """The share of this process among those of `jax.distributed`, which finds them on a TPU pod and under SLURM or MPI.

    All processes meet once, here; then they leave the coordinator, so that the death of any, the coordinator's host among
    them, stops no other.

    Raises:
        UserError: if there are none to be found, or they do not all come.
    """
    import jax

    try:
        jax.distributed.initialize()
        shard = Shard(jax.process_index() + 1, jax.process_count())
        jax.distributed.shutdown()
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"jax.distributed finds no other processes ({reason}); give each its share: --shard I/N") from error
    return shard
