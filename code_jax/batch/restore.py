"""Restoring files: batches of one fixed size through one compiled program, a result and a manifest line for each picture.

A picture's key comes from the seed and the hash of its pixels, and every batch has the same size (padded), so that a result
depends on neither its name, its neighbours, their order, nor the number of devices.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from PIL import Image

from code_jax.batch.contact_sheet import contact_sheet
from code_jax.batch.files import Source, read_picture, write_picture
from code_jax.editing.config import EditConfig
from code_jax.editing.edit import EditResult, number_of_moves, run_in_segments
from code_jax.images import from_uint8, to_uint8
from code_jax.metrics.pixelwise import psnr
from code_jax.priors.hash import prior_hash
from code_jax.priors.prior import Prior
from code_jax.progress import Progress
from code_jax.provenance import png_text

_SEGMENTS = 10
_SHEET_ROWS = 40


@dataclasses.dataclass(frozen=True)
class Job:
    """What to do with each picture.

    Attributes:
        samples: results a picture.
        seed: of the run.
        micro_batch: pictures on each device at a time.
        fit: "resize" or "crop".
        compare: write ``contact_sheet.png``.
        settings: what the manifest says of the settings.
        mask: where the pictures may change, bool [H, W]; None is everywhere.
    """

    samples: int = 1
    seed: int = 0
    micro_batch: int = 8
    fit: str = "resize"
    compare: bool = False
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    mask: np.ndarray | None = None


class Work(NamedTuple):
    """One result to make: of which picture (uint8 [H, W, 3]), the how-manyeth sample."""

    source: Source
    pixels: np.ndarray
    digest: str
    sample: int


@dataclasses.dataclass
class Summary:
    """What a run did: counts, seconds, evaluations an image, and PSNR to the clean source before and after where there is one."""

    done: int = 0
    failed: int = 0
    seconds: float = 0.0
    nfe: int = 0
    before: list[float] = dataclasses.field(default_factory=list)
    after: list[float] = dataclasses.field(default_factory=list)


def restore_files(sources: Sequence[Source], out: Path, prior: Prior, config: EditConfig, job: Job) -> Summary:
    """Restores the pictures into `out` and writes ``manifest.jsonl``; a failure is named on stderr and stops nothing."""
    summary, begun = Summary(nfe=number_of_moves(config)[1]), time.monotonic()
    batch = job.micro_batch * jax.local_device_count()
    batches = -(-len(sources) * job.samples // batch)
    bounds = np.unique(np.linspace(0, number_of_moves(config)[0], _SEGMENTS + 1).astype(int))
    progress = Progress(batches * int(bounds[-1]))
    weights, prior = prior_hash(prior), jax.device_put(prior, _sharding())
    rows: dict[Source, tuple[np.ndarray, list[np.ndarray]]] = {}
    with open(out / "manifest.jsonl", "w", encoding="utf-8") as manifest:
        work = _work(sources, prior, job, summary, manifest)
        while group := list(itertools.islice(work, batch)):
            started = time.monotonic()
            result = _restore_group(group, batch, prior, config, job, bounds, progress)
            images, finite = to_uint8(result.images), np.asarray(result.info.finite)
            facts = {"nfe": summary.nfe, "seconds": round((time.monotonic() - started) / len(group), 3)}
            clipped, squared = np.asarray(result.info.clipped), np.asarray(result.info.squared_score)
            for i, item in enumerate(group):
                if not finite[i]:
                    reason = "the result is not finite: the step size is likely too large"
                    _fail(item.source, reason, job, summary, manifest)
                    continue
                path = Path(f"{item.source.output}{f'_{item.sample + 1}' if job.samples > 1 else ''}.png")
                write_picture(Image.fromarray(images[i]), path, png_text(facts_of(item.digest, item.sample, weights, job)))
                row = facts | {"clipped": float(clipped[i]), "hash": item.digest, "sample": item.sample}
                row["squared_score"] = None if np.isnan(squared[i]) else float(squared[i])
                _note(manifest, item.source, job, output=str(path), status="done", **row)
                summary.done += 1
                _compare_with_reference(item, images[i], prior, job, summary)
                if job.compare and (item.source in rows or len(rows) < _SHEET_ROWS):
                    rows.setdefault(item.source, (item.pixels, []))[1].append(images[i])
    if rows:
        write_picture(_sheet(rows, prior, job), out / "contact_sheet.png")
    summary.seconds = time.monotonic() - begun
    return summary


def image_key(seed: int, digest: str, sample: int) -> np.ndarray:
    """Words uint32 [6] that a picture's key is folded from: the seed, four words of the pixels' SHA-256, the sample."""
    return np.array([seed, *np.frombuffer(bytes.fromhex(digest)[:16], ">u4"), sample], np.uint32)


def facts_of(digest: str, sample: int, weights: str, job: Job) -> dict[str, Any]:
    """What a result says of its origin (`code_jax.provenance`)."""
    facts = {"settings": job.settings, "prior_hash": weights, "input_hash": digest}
    if job.mask is not None:
        facts["mask_hash"] = hashlib.sha256(job.mask.tobytes()).hexdigest()
    return facts | {"seed": job.seed, "sample": sample, "micro_batch": job.micro_batch}


@jax.jit
def fold_keys(words: jax.Array) -> jax.Array:
    """Typed keys [B] of the words uint32 [B, 6] of `image_key`."""

    def fold(row: jax.Array) -> jax.Array:
        key = jax.random.key(row[0])
        for i in range(1, 6):
            key = jax.random.fold_in(key, row[i])
        return key

    return jax.vmap(fold)(words)


def _work(sources: Sequence[Source], prior: Prior, job: Job, summary: Summary, manifest: TextIO) -> Iterator[Work]:
    for source in sources:
        try:
            pixels = read_picture(source.path, prior.image_shape, job.fit)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            _fail(source, str(error) or type(error).__name__, job, summary, manifest)
            continue
        digest = hashlib.sha256(pixels.tobytes()).hexdigest()
        for sample in range(job.samples):
            yield Work(source, pixels, digest, sample)


def _restore_group(
    group: list[Work], batch: int, prior: Prior, config: EditConfig, job: Job, bounds: np.ndarray, progress: Progress
) -> EditResult:
    padding = batch - len(group)
    words = np.stack([image_key(job.seed, item.digest, item.sample) for item in group] + [np.zeros(6, np.uint32)] * padding)
    pixels = np.stack([item.pixels for item in group] + [np.zeros_like(group[0].pixels)] * padding)
    keys, images = jax.device_put((fold_keys(words), from_uint8(pixels)), _sharding("batch"))
    done = 0

    def after(moves: int) -> None:
        nonlocal done
        progress.advance(moves - done)
        done = moves

    return run_in_segments(keys, prior, images, config, bounds, after, job.mask)


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Of two pictures, uint8 [H, W, 3]."""
    return float(psnr(from_uint8(a[None]), from_uint8(b[None]))[0])


def _sharding(*axes: str) -> NamedSharding:
    mesh = Mesh(np.array(jax.local_devices()), ("batch",))
    return NamedSharding(mesh, PartitionSpec(*axes))


def _note(manifest: TextIO, source: Source, job: Job, **facts: Any) -> None:
    line = {"input": str(source.path), "settings": job.settings, "seed": job.seed, "micro_batch": job.micro_batch} | facts
    manifest.write(json.dumps(line) + "\n")
    manifest.flush()


def _fail(source: Source, reason: str, job: Job, summary: Summary, manifest: TextIO) -> None:
    summary.failed += 1
    print(f"code-jax: failed {str(source.path)!r}: {reason}", file=sys.stderr)
    _note(manifest, source, job, output=None, status="failed", error=reason)


def _reference(source: Source, prior: Prior, job: Job) -> np.ndarray | None:
    if source.reference is None:
        return None
    try:
        return read_picture(source.reference, prior.image_shape, job.fit)
    except (OSError, ValueError) as error:
        print(f"code-jax: the clean source {str(source.reference)!r} cannot be read: {error}", file=sys.stderr)
        return None


def _compare_with_reference(item: Work, image: np.ndarray, prior: Prior, job: Job, summary: Summary) -> None:
    clean = _reference(item.source, prior, job)
    if clean is not None:
        summary.before.append(_psnr(item.pixels, clean))
        summary.after.append(_psnr(image, clean))


def _sheet(rows: dict[Source, tuple[np.ndarray, list[np.ndarray]]], prior: Prior, job: Job) -> Image.Image:
    names = ["result"] if job.samples == 1 else [f"sample {i + 1}" for i in range(job.samples)]
    cells, with_clean = [], False
    for source, (pixels, images) in rows.items():
        clean = _reference(source, prior, job)
        with_clean = with_clean or clean is not None
        padded: list[np.ndarray | None] = [pixels, *images, *[None] * (job.samples - len(images)), clean]
        captions = ["" if clean is None or cell is None or cell is clean else f"{_psnr(cell, clean):.1f} dB" for cell in padded]
        cells.append((source.path.name, padded, captions))
    if not with_clean:
        cells = [(label, pictures[:-1], captions[:-1]) for label, pictures, captions in cells]
    return contact_sheet(["input", *names, *(["clean source"] if with_clean else [])], cells)
