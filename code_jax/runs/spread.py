"""Restoring on a cluster: workers read, restore and write (`code_jax.runs.restorer`); the manifest is this process's alone."""

from __future__ import annotations

import contextlib
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np

from code_jax.cluster.cluster import Cluster
from code_jax.editing.settings import Settings
from code_jax.interruption import Dropped, Interruption
from code_jax.pictures.loading import PictureError, read_content
from code_jax.priors.prior import Prior
from code_jax.runs.inputs import Inputs
from code_jax.runs.job import Job
from code_jax.runs.ledger import Ledger
from code_jax.runs.listing import Source
from code_jax.runs.manifest import Manifest
from code_jax.runs.restorer import Restorer
from code_jax.runs.tasks import line_of_input

QUARANTINED = "three workers died with it, the last with nothing else to do (--retry-failed tries again)"


def spread(
    inputs: Inputs, prior: Prior, config: Settings, job: Job, weights: str, manifest: Manifest, ledger: Ledger,
    interruption: Interruption, pool: ThreadPoolExecutor, cluster: Cluster,
) -> None:  # fmt: skip
    """Restores all there is to do on a cluster, or as much as an interruption lets it.

    A picture with which workers die is noted as failed, and everything else goes on.
    """
    begun, computing = time.monotonic(), 0.0
    progress = inputs.progress(job.samples, manifest.done)
    args = cluster.put(jax.tree.map(np.asarray, prior)), config, job, inputs.out.absolute(), weights
    results = cluster.do(Restorer, args, ((_anywhere(source), manifest.of(source.name)) for source in inputs), interruption)
    with contextlib.closing(results), contextlib.suppress(Dropped):
        for (source, _), handled in results:
            if handled is None:
                ledger.fail(source, line_of_input(source, _hash_of(source)) | {"error": QUARANTINED})
                progress.advance(job.samples)
                continue
            computing += handled.seconds
            ledger.take(handled.prepared)
            for written in handled.written:
                if written.line["status"] == "done":
                    manifest.add(written.line)
                ledger.wrote(handled.prepared.source, written)
            progress.advance(len(handled.written))
    ledger.summary.waited = max(1 - computing / max((time.monotonic() - begun) * cluster.actors, 1e-9), 0.0)
    ledger.conclude(pool, interruption.signal)


def _anywhere(source: Source) -> Source:
    """A source by paths that do not depend on the folder that a process is in."""
    return source._replace(path=source.path.absolute(), reference=source.reference and source.reference.absolute())


def _hash_of(source: Source) -> str | None:
    """Of a file that nobody dares to decode."""
    try:
        return hashlib.sha256(read_content(source.path).data).hexdigest()
    except PictureError:
        return None
