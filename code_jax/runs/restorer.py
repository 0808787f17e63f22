"""Restoring inputs from their files to results' files, a few at a time: what each worker of a cluster does."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from code_jax.editing.settings import Settings
from code_jax.priors.prior import Prior
from code_jax.runs.engine import Engine, Restored
from code_jax.runs.job import Job
from code_jax.runs.listing import Source
from code_jax.runs.manifest import Told
from code_jax.runs.result import Written, write_result
from code_jax.runs.tasks import Prepared, Work, prepare
from code_jax.storage.address import Place

_THREADS = 16
_MANY = 2**31  # results, so that every device takes part


class Handled(NamedTuple):
    """An input that was looked at, without its works, what became of them, and the seconds that a device had to do for it."""

    prepared: Prepared
    written: list[Written]
    seconds: float


class Restorer:
    """Restores on the devices of this process; `work` may be called from several threads, of which one computes at a time."""

    def __init__(self, prior: Prior, config: Settings, job: Job, out: Place, weights: str) -> None:
        self._prior, self._config, self._job, self._out, self._weights = prior, config, job, out, weights
        self._engine = Engine.on_devices(prior, config, job, _MANY)
        self._computing, self._pool = threading.Lock(), ThreadPoolExecutor(_THREADS)
        self.size = max(self._engine.in_flight // job.samples, 1)

    def work(self, inputs: list[tuple[Source, Told]]) -> list[Handled]:
        """Restores inputs, each given with what the manifest tells of it."""
        prepared = list(self._pool.map(self._prepared, inputs))
        writing, computing = [], 0.0
        for group in self._engine.groups(work for each in prepared for work in each.todo):
            with self._computing:
                started = time.monotonic()
                restored = self._engine.restore(group, _unnoticed)
                seconds = time.monotonic() - started
            computing += seconds
            own = round(seconds / len(group), 3)
            writing += [self._pool.submit(self._write, *each, own) for each in zip(restored, group, strict=True)]
        written = iter([future.result() for future in writing])
        return [
            Handled(each._replace(todo=()), list(itertools.islice(written, len(each.todo))), computing / len(inputs))
            for each in prepared
        ]

    def _prepared(self, given: tuple[Source, Told]) -> Prepared:
        return prepare(*given, self._out, self._prior.image_shape, self._job)

    def _write(self, restored: Restored, work: Work, seconds: float) -> Written:
        return write_result(restored, work, self._out, self._prior, self._config, self._job, self._weights, seconds)


def _unnoticed(moves: int) -> None:
    """Progress is of whole pictures."""
