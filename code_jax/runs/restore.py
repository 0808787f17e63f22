"""Restoring files: read and written by threads while the device computes, a result and a line of the manifest for each.

A picture's key comes from the seed and the hash of its pixels, and every batch has the same size (padded), so that a result
depends on neither its name, its neighbours, their order, nor the number of devices; nor on when a run was killed and taken up.
"""

from __future__ import annotations

import collections
import contextlib
import os
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from code_jax.cluster.cluster import Cluster
from code_jax.editing.settings import Settings
from code_jax.errors import UserError
from code_jax.interruption import Dropped, Interruption
from code_jax.pictures.files import size_of
from code_jax.priors.hash import prior_hash
from code_jax.priors.prior import Prior
from code_jax.progress import Progress
from code_jax.runs.engine import Engine
from code_jax.runs.inputs import Inputs
from code_jax.runs.job import Job
from code_jax.runs.ledger import Ledger
from code_jax.runs.listing import Listing, Source
from code_jax.runs.manifest import Manifest
from code_jax.runs.prefetch import prefetch
from code_jax.runs.result import Restored, Written, write_result
from code_jax.runs.shards import WHOLE, Shard
from code_jax.runs.spread import spread
from code_jax.runs.summary import Summary
from code_jax.runs.survey import Survey
from code_jax.runs.tasks import Prepared, Work, prepare
from code_jax.storage.address import Place
from code_jax.storage.whole import clean

_THREADS = min(8, (os.cpu_count() or 1) + 1)
_WAITING = 32  # threads where pictures come from afar
_MANY = 2**31  # results of a listing, whose number is not known when it begins


def restore_files(
    sources: Sequence[Source] | Listing, out: Place, prior: Prior, config: Settings, job: Job, shard: Shard = WHOLE,
    cluster: Cluster | None = None,
) -> Summary:  # fmt: skip
    """Restores the pictures of a share into `out`; what earlier runs of the same settings made is kept.

    A picture that fails is named on stderr and stops nothing. SIGINT, SIGTERM or SIGHUP stops after the batch in flight, a second
    one within it.

    Args:
        sources: the pictures; a listing is gone through as it comes.
        out: a folder, which exists, or an address.
        cluster: who restores; None is this process.

    Raises:
        UserError: if `out` holds results of other settings, another process is at work in it, or it cannot be written any more.
    """
    begun = time.monotonic()
    weights = prior_hash(prior)
    inputs = Inputs(sources, out, shard)
    try:
        with (
            warnings.catch_warnings(),
            shard.locked(out),
            Manifest(out, job.identity(weights), shard, overwrite=job.overwrite) as manifest,
            Interruption() as interruption,
            ThreadPoolExecutor(_THREADS if inputs.at_hand and isinstance(out, Path) else _WAITING) as pool,
        ):
            warnings.filterwarnings("ignore", module="PIL")  # what matters of them is in a picture's own
            if shard.is_whole:
                clean(out)
            ledger = Ledger(out, prior.image_shape, job, manifest)
            if cluster is None:
                _Run(inputs, prior, config, job, weights, manifest, ledger, interruption, pool).run()
            else:
                spread(inputs, prior, config, job, weights, manifest, ledger, interruption, pool, cluster)
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else str(out)
        failed = f"{where!r} cannot be written" if isinstance(out, Path) and "://" not in where else repr(where)
        raise UserError(
            f"{failed}: {error.strerror or error}; what was written is whole, the same command goes on from it"
        ) from error
    ledger.summary.seconds = time.monotonic() - begun
    return ledger.summary


class _Run:
    """One pass over the inputs, on this process's devices."""

    def __init__(
        self, inputs: Inputs, prior: Prior, config: Settings, job: Job, weights: str, manifest: Manifest, ledger: Ledger,
        interruption: Interruption, pool: ThreadPoolExecutor,
    ) -> None:  # fmt: skip
        self.inputs, self.prior, self.config, self.job, self.weights = inputs, prior, config, job, weights
        self.manifest, self.ledger, self.interruption, self.pool = manifest, ledger, interruption, pool
        self.out, self.shape, self.done_before = inputs.out, prior.image_shape, manifest.done
        self.survey = self._surveyed()
        self.engine = Engine.on_devices(prior, config, job, _MANY if self.survey is None else self.survey.inputs(self.shape))
        self.writing: collections.deque[tuple[Source, Future[Written]]] = collections.deque()

    def run(self) -> None:
        """Restores all there is to do, or as much as an interruption lets it."""
        fitted = self.survey is None or self.survey.fitted
        large = self.job.at_own_size if self.survey is None else self.survey.own
        ahead = (self.engine.in_flight if fitted else 1) + (1 if large else _THREADS)
        prepared = prefetch(self.pool, self._prepare, self.inputs, ahead)
        self.progress = self._progress()
        computing, first = 0.0, None
        with contextlib.closing(prepared), contextlib.suppress(Dropped):
            for group in self.engine.groups(self._todo(prepared)):
                started = time.monotonic()
                first = first or started
                restored = self._compute(group)
                seconds = time.monotonic() - started
                computing += seconds
                self._write(group, restored, round(seconds / len(group), 3))
                if self.interruption.signal is not None:
                    break
        if first is not None:
            self.ledger.summary.waited = max(1 - computing / (time.monotonic() - first), 0.0)
        self._settle(0)
        self.ledger.conclude(self.pool, self.interruption.signal)

    def _surveyed(self) -> Survey | None:
        """What is left to do, by the pictures' headers where their sizes matter; None before all pictures were read."""
        if self.inputs.number is None or (self.job.at_own_size and not self.inputs.at_hand):
            return None
        if not self.job.at_own_size:
            return Survey(self._missing(self.inputs.number))
        left = [
            (source.path, count)
            for source in self.inputs.held()
            if (count := self.job.samples - self.manifest.done_of(source.name)) > 0
        ]
        found = self.pool.map(size_of, [path for path, _ in left])
        return Survey.of(((size, count) for size, (_, count) in zip(found, left, strict=True)), self.shape, self.job)

    def _missing(self, number: int) -> int:
        """The results to make of so many inputs."""
        return max(number * self.job.samples - self.done_before, 0)

    def _progress(self) -> Progress:
        """In steps of the engine; without a survey in results."""
        if self.survey is not None:
            self.survey.tell(self.engine, "--max-side {}")
            return Progress(self.survey.steps(self.engine), self._missing(self.inputs.number or 0))
        return self.inputs.progress(self.job.samples, self.done_before)

    def _prepare(self, source: Source) -> Prepared:
        return prepare(source, self.manifest.of(source.name), self.out, self.shape, self.job)

    def _todo(self, prepared: Iterable[Prepared]) -> Iterator[Work]:
        """The results to make; what holds already, or cannot be, is counted on the way."""
        for each in prepared:
            if self.interruption.signal is not None:
                return
            self.ledger.take(each)
            yield from each.todo

    def _compute(self, group: list[Work]) -> list[Restored]:
        done = 0

        def after(moves: int) -> None:
            nonlocal done
            self.interruption.checkpoint()
            if self.survey is not None:
                self.progress.advance(moves - done)
                done = moves

        restored = self.engine.restore(group, after)
        if self.survey is None:
            self.progress.advance(len(group))
        return restored

    def _write(self, group: list[Work], restored: list[Restored], seconds: float) -> None:
        self._settle(2 * len(group))
        for work, each in zip(group, restored, strict=True):
            self.writing.append((work.source, self.pool.submit(self._write_one, each, work, seconds)))

    def _write_one(self, restored: Restored, work: Work, seconds: float) -> Written:
        written = write_result(restored, work, self.out, self.prior, self.config, self.job, self.weights, seconds)
        if written.line["status"] == "done":
            self.manifest.add(written.line)
        return written

    def _settle(self, left: int) -> None:
        """Waits until no more than so many results are being written, and counts those that are."""
        while len(self.writing) > left or (self.writing and self.writing[0][1].done()):
            source, future = self.writing.popleft()
            self.ledger.wrote(source, future.result())
