"""What a run has done: said on stderr, counted, and kept for the sheet at its end."""

from __future__ import annotations

import collections
import sys
from concurrent.futures import Executor

from code_jax.errors import printable
from code_jax.runs.account import plural
from code_jax.runs.comparison import write_comparison
from code_jax.runs.job import Job
from code_jax.runs.lines import Line
from code_jax.runs.listing import Source
from code_jax.runs.manifest import Manifest, found
from code_jax.runs.result import Written
from code_jax.runs.summary import Summary, diversity_of
from code_jax.runs.tasks import Prepared, line_of_input
from code_jax.storage.address import Place


class Ledger:
    """The account of one run.

    Args:
        out: the output folder.
        image_shape: of the prior.
        job: what is done.
        manifest: where failures are noted; who writes a result notes it.
    """

    def __init__(self, out: Place, image_shape: tuple[int, int, int], job: Job, manifest: Manifest) -> None:
        self.summary = Summary()
        self._out, self._shape, self._job, self._manifest = out, image_shape, job, manifest
        self._done: dict[str, dict[int, Line]] = {}  # of what is to be compared
        self._compared: list[Source] = []
        self._inputs: list[tuple[str, str]] = []  # name and hash of those with several samples
        self._kinds: collections.Counter[str] = collections.Counter()  # of what is warned of once

    def take(self, prepared: Prepared) -> None:
        """Takes note of an input that was looked at: what holds already, or that it cannot be restored."""
        source = prepared.source
        for text in prepared.warnings:
            self._warn(source, text)
        if self._job.compare:
            self._compared.append(source)
        for line in prepared.earlier:
            self.summary.count(line)
            if line["status"] == "done":
                self.summary.kept += 1
                self._note(line)
            else:
                self._say(f"failed {str(source.path)!r} earlier: {line['error']} (--retry-failed tries again)")
        if prepared.failure is not None and not prepared.earlier:
            self.fail(source, line_of_input(source, prepared.file_hash) | {"error": prepared.failure})
        if self._job.samples > 1 and prepared.file_hash is not None:
            self._inputs.append((source.name, prepared.file_hash))
        if prepared.todo and prepared.todo[0].loss is not None:
            self._once(source, "are reduced by more than half", prepared.todo[0].loss)

    def wrote(self, source: Source, written: Written) -> None:
        """Takes note of a result, or that it could not be written."""
        for text in written.warnings:
            self._warn(source, text)
        if written.line["status"] == "failed":
            self.fail(source, written.line)
            return
        self.summary.count(written.line)
        self.summary.done += 1
        self._note(written.line)

    def fail(self, source: Source, line: Line) -> None:
        """Says and notes that an input, or a sample of it, failed."""
        self._say(f"failed {str(source.path)!r}: {line['error']}")
        line = line | {"output": None, "status": "failed"}
        self._manifest.add(line)
        self.summary.count(line)

    def conclude(self, pool: Executor, signal: int | None) -> None:
        """At the end of a run: what was warned of once, counted; if none interrupted it, the samples' diversity and the sheet."""
        for kind, count in self._kinds.items():
            if count > 1:
                self._say(f"warning: {plural(count, 'picture')} {kind}")
        self.summary.signal = signal
        if signal is not None:
            return
        self.summary.diversity += [value for value in pool.map(self._diversity, self._inputs) if value is not None]
        if self._job.compare:
            told = ((source.path.name, line) for source in self._compared for line in self._manifest.of(source.name).values())
            failed = [(name, line["error"]) for name, line in told if line["status"] == "failed"]
            write_comparison(self._compared, self._done, failed, self._out, self._shape, self._job)

    def _diversity(self, name_and_hash: tuple[str, str]) -> float | None:
        """Of an input's samples; noted in the last one's line of the manifest."""
        name, file_hash = name_and_hash
        told = self._manifest.of(name)
        lines = [found(told, sample, file_hash) for sample in range(self._job.samples)]
        whole = [line for line in lines if line is not None and line["status"] == "done"]
        if len(whole) < self._job.samples:
            return None
        last = whole[-1]
        if "diversity" not in last:
            last = last | {"diversity": diversity_of(whole, self._out)}
            self._manifest.add(last)
        value: float | None = last["diversity"]
        return value

    def _note(self, line: Line) -> None:
        if self._job.compare:
            self._done.setdefault(line["name"], {})[line["sample"]] = line

    def _once(self, source: Source, kind: str, text: str) -> None:
        """Warns of the first picture of a kind, and counts the others."""
        if not self._kinds[kind]:
            self._warn(source, text)
        self._kinds[kind] += 1

    def _warn(self, source: Source, text: str) -> None:
        self._say(f"warning: {str(source.path)!r}: {text}")

    def _say(self, text: str) -> None:
        print(f"code-jax: {printable(text)}", file=sys.stderr)
