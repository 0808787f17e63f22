"""Restoring files: read and written by threads while the device computes, a result and a line of the manifest for each.

A picture's key comes from the seed and the hash of its pixels, and every batch has the same size (padded), so that a result
depends on neither its name, its neighbours, their order, nor the number of devices; nor on when a run was killed and taken up.
"""

from __future__ import annotations

import collections
import contextlib
import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from code_jax.durable import remove_leftovers
from code_jax.editing.edit import number_of_moves
from code_jax.editing.settings import Settings
from code_jax.errors import UserError, printable
from code_jax.interruption import Dropped, Interruption
from code_jax.pictures.files import size_of
from code_jax.priors.hash import prior_hash
from code_jax.priors.prior import Prior
from code_jax.progress import Progress
from code_jax.runs.account import plural
from code_jax.runs.comparison import write_comparison
from code_jax.runs.engine import Engine, Restored, why_not_finite
from code_jax.runs.job import Job
from code_jax.runs.manifest import Line, Manifest
from code_jax.runs.prefetch import prefetch
from code_jax.runs.result import Written, line_of, write_result
from code_jax.runs.shards import WHOLE, Shard
from code_jax.runs.sources import Source
from code_jax.runs.summary import Summary, diversity_of
from code_jax.runs.survey import Survey
from code_jax.runs.tasks import Prepared, Work, prepare

_THREADS = min(8, (os.cpu_count() or 1) + 1)


def restore_files(
    sources: Sequence[Source], out: Path, prior: Prior, config: Settings, job: Job, shard: Shard = WHOLE
) -> Summary:
    """Restores the pictures of a share into `out`, which exists; what earlier runs of the same settings made is kept.

    A picture that fails is named on stderr and stops nothing. SIGINT, SIGTERM or SIGHUP stops after the batch in flight, a second
    one within it.

    Raises:
        UserError: if `out` holds results of other settings, another process is at work in it, or it cannot be written any more.
    """
    begun = time.monotonic()
    weights = prior_hash(prior)
    sources = [source for source in sources if shard.holds(source.output.relative_to(out).as_posix())]
    try:
        with (
            warnings.catch_warnings(),
            shard.locked(out),
            Manifest(out, job.identity(weights), shard, overwrite=job.overwrite) as manifest,
            Interruption() as interruption,
            ThreadPoolExecutor(_THREADS) as pool,
        ):
            warnings.filterwarnings("ignore", module="PIL")  # what matters of them is in a picture's own
            for folder in {out, *(source.output.parent for source in sources)} if shard.is_whole else ():
                remove_leftovers(folder)
            run = _Run(sources, out, prior, config, job, weights, manifest, interruption, pool)
            run.run()
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else str(out)
        raise UserError(
            f"{where!r} cannot be written: {error.strerror or error}; what was written is whole, the same command goes on from it"
        ) from error
    run.summary.seconds = time.monotonic() - begun
    return run.summary


class _Run:
    """One pass over the sources."""

    def __init__(
        self, sources: Sequence[Source], out: Path, prior: Prior, config: Settings, job: Job, weights: str,
        manifest: Manifest, interruption: Interruption, pool: ThreadPoolExecutor,
    ) -> None:  # fmt: skip
        self.sources, self.out, self.job, self.weights, self.config = sources, out, job, weights, config
        self.manifest, self.interruption, self.pool = manifest, interruption, pool
        self.shape, self.prior = prior.image_shape, prior
        self.missing = len(sources) * job.samples - manifest.done
        self.survey = self._surveyed()
        self.engine = Engine.on_devices(prior, config, job, self.survey.inputs(self.shape))
        self.summary = Summary(nfe=number_of_moves(prior, config)[1])
        self.writing: collections.deque[tuple[Source, Future[Written]]] = collections.deque()
        self.done: dict[str, dict[int, Line]] = {}  # of what is to be compared
        self.kinds: collections.Counter[str] = collections.Counter()  # of what is warned of once
        self.inputs: list[tuple[str, str]] = []  # name and hash of those with several samples

    def run(self) -> None:
        """Restores all there is to do, or as much as an interruption lets it."""
        batch = self.engine.in_flight if self.survey.fitted else 1
        ahead = batch + (1 if self.survey.own else _THREADS)
        prepared = prefetch(self.pool, self._prepare, self.sources, ahead)
        self.survey.tell(self.engine, "--max-side {}")
        self.progress = Progress(self.survey.steps(self.engine), max(self.missing, 0))
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
            self.summary.waited = max(1 - computing / (time.monotonic() - first), 0.0)
        self._settle(0)
        for kind, count in self.kinds.items():
            if count > 1:
                self._say(f"warning: {plural(count, 'picture')} {kind}")
        self.summary.signal = self.interruption.signal
        if self.summary.signal is None:
            self.summary.diversity += [value for value in self.pool.map(self._diversity, self.inputs) if value is not None]
        if self.job.compare and self.summary.signal is None:
            write_comparison(self.sources, self.done, self.out, self.shape, self.job)

    def _surveyed(self) -> Survey:
        """What is left to do, by the pictures' headers where their sizes matter."""
        if not self.job.at_own_size:
            return Survey(max(self.missing, 0))
        left = [
            (source.path, count)
            for source in self.sources
            if (count := self.job.samples - self.manifest.done_of(source.output.relative_to(self.out).as_posix())) > 0
        ]
        found = self.pool.map(size_of, [path for path, _ in left])
        return Survey.of(((size, count) for size, (_, count) in zip(found, left, strict=True)), self.shape, self.job)

    def _prepare(self, source: Source) -> Prepared:
        return prepare(source, self.out, self.shape, self.job, self.manifest)

    def _todo(self, prepared: Iterable[Prepared]) -> Iterator[Work]:
        """The results to make; what holds already, or cannot be, is counted on the way."""
        for each in prepared:
            if self.interruption.signal is not None:
                return
            for text in each.warnings:
                self._warn(each.source, text)
            for line in each.earlier:
                self.summary.count(line)
                if line["status"] == "done":
                    self.summary.kept += 1
                    self._note(line)
                else:
                    self._say(f"failed {str(each.source.path)!r} earlier: {line['error']} (--retry-failed tries again)")
            if each.failure is not None and not each.earlier:
                line = {"input": os.path.abspath(each.source.path), "name": each.name, "sample": None}
                self._fail(each.source, line | {"file_hash": each.file_hash, "error": each.failure})
            if self.job.samples > 1 and each.file_hash is not None:
                self.inputs.append((each.name, each.file_hash))
            if each.todo and each.todo[0].loss is not None:
                self._once(each.source, "are reduced by more than half", each.todo[0].loss)
            yield from each.todo

    def _compute(self, group: list[Work]) -> list[Restored]:
        done = 0

        def after(moves: int) -> None:
            nonlocal done
            self.interruption.checkpoint()
            self.progress.advance(moves - done)
            done = moves

        return self.engine.restore(group, after)

    def _write(self, group: list[Work], restored: list[Restored], seconds: float) -> None:
        self._settle(2 * len(group))
        for work, (image, finite, facts) in zip(group, restored, strict=True):
            if finite:
                facts["seconds"] = seconds
                self.writing.append((work.source, self.pool.submit(self._write_one, image, work, facts)))
            else:
                reason = why_not_finite(self.prior, self.config, self.job.settings)
                self._fail(work.source, line_of(work) | {"error": f"the result is not finite: {reason}"})

    def _write_one(self, image: np.ndarray, work: Work, facts: dict[str, Any]) -> Written:
        written = write_result(image, work, self.out, self.shape, self.job, self.weights, facts)
        if written.line["status"] == "done":
            self.manifest.add(written.line)
        return written

    def _settle(self, left: int) -> None:
        """Waits until no more than so many results are being written, and counts those that are."""
        while len(self.writing) > left or (self.writing and self.writing[0][1].done()):
            source, future = self.writing.popleft()
            line, texts = future.result()
            for text in texts:
                self._warn(source, text)
            if line["status"] == "failed":
                self._fail(source, line)
                continue
            self.summary.count(line)
            self.summary.done += 1
            self._note(line)

    def _diversity(self, name_and_hash: tuple[str, str]) -> float | None:
        """Of an input's samples; noted in the last one's line of the manifest."""
        lines = [self.manifest.find(name_and_hash[0], sample, name_and_hash[1]) for sample in range(self.job.samples)]
        whole = [line for line in lines if line is not None and line["status"] == "done"]
        if len(whole) < self.job.samples:
            return None
        last = whole[-1]
        if "diversity" not in last:
            last = last | {"diversity": diversity_of(whole, self.out)}
            self.manifest.add(last)
        return last["diversity"]

    def _fail(self, source: Source, line: Line) -> None:
        self._say(f"failed {str(source.path)!r}: {line['error']}")
        line = line | {"output": None, "status": "failed"}
        self.manifest.add(line)
        self.summary.count(line)

    def _note(self, line: Line) -> None:
        if self.job.compare:
            self.done.setdefault(line["name"], {})[line["sample"]] = line

    def _once(self, source: Source, kind: str, text: str) -> None:
        """Warns of the first picture of a kind, and counts the others."""
        if not self.kinds[kind]:
            self._warn(source, text)
        self.kinds[kind] += 1

    def _warn(self, source: Source, text: str) -> None:
        self._say(f"warning: {str(source.path)!r}: {text}")

    def _say(self, text: str) -> None:
        print(f"code-jax: {printable(text)}", file=sys.stderr)
