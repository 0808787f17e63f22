"""What there is to do of an input: nothing, because it is done; nothing, because it cannot be; or results to make."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from code_jax.pictures.decode import Picture, decode_picture
from code_jax.pictures.encode import output_format
from code_jax.pictures.files import open_picture
from code_jax.pictures.fits import OWN_SIZE
from code_jax.pictures.fitting import eight_bits, fitted, region, resized, with_alpha, within
from code_jax.pictures.loading import PictureError, read_bytes
from code_jax.pictures.metadata import Metadata
from code_jax.runs.job import Job
from code_jax.runs.manifest import Line, Manifest, is_intact
from code_jax.runs.sources import Source


class Work(NamedTuple):
    """One result to make.

    Attributes:
        source: of which picture.
        name: of its outputs, relative to the output folder and without ending.
        sample: the how-manyeth result.
        file_hash: SHA-256 of the file.
        digest: SHA-256 of the picture as the prior sees it, uint8 [H, W, C].
        pixels: the same, but gray and with 16 bits where it is: uint8 [H, W, 1, 3 or 4], uint16 [H, W, 1].
        fit: how the picture met the prior; never "auto".
        shown: (H, W) of the picture as the prior sees it, without what a small one was continued by.
        size: (H, W) of the result.
        alpha: its transparency, uint8 [H, W], or None.
        kind, ending: format and ending of the result.
        metadata: what stays true of it.
        loss: what to say where most of the picture's pixels are thrown away.
    """

    source: Source
    name: str
    sample: int
    file_hash: str
    digest: str
    pixels: np.ndarray
    fit: str
    shown: tuple[int, int]
    size: tuple[int, int]
    alpha: np.ndarray | None
    kind: str
    ending: str
    metadata: Metadata
    loss: str | None = None


class Prepared(NamedTuple):
    """An input looked at: results to make, lines of the manifest that hold, why it failed, and what to warn of."""

    source: Source
    name: str
    file_hash: str | None
    todo: tuple[Work, ...] = ()
    earlier: tuple[Line, ...] = ()
    failure: str | None = None
    warnings: tuple[str, ...] = ()


def prepare(source: Source, out: Path, image_shape: tuple[int, int, int], job: Job, manifest: Manifest) -> Prepared:
    """Reads an input, unless all of its results are there and whole, or it failed before and is not to be tried again."""
    prepared = Prepared(source, source.output.relative_to(out).as_posix(), None)
    try:
        if source.problem is not None:
            raise PictureError(source.problem)
        data = read_bytes(source.path)
    except PictureError as error:
        return _failed(prepared, str(error), job, manifest)
    prepared = prepared._replace(file_hash=hashlib.sha256(data).hexdigest())
    lines = [manifest.find(prepared.name, sample, prepared.file_hash) for sample in range(job.samples)]
    holding = {sample: line for sample, line in enumerate(lines) if line is not None and _holds(line, out, job)}
    earlier = {id(line): line for line in holding.values()}  # one line may be of all the samples
    prepared = prepared._replace(earlier=tuple(earlier.values()))
    missing = [sample for sample in range(job.samples) if sample not in holding]
    if not missing:
        return prepared
    try:
        return _decoded(prepared, data, missing, image_shape, job)
    except PictureError as error:
        return _failed(prepared, str(error), job, manifest)


def _decoded(prepared: Prepared, data: bytes, samples: list[int], image_shape: tuple[int, int, int], job: Job) -> Prepared:
    picture = decode_picture(data, prepared.source.path.name, animated=job.animated)
    work = work_of(picture, prepared.source, prepared.name, image_shape, job)._replace(file_hash=prepared.file_hash or "")
    return prepared._replace(todo=tuple(work._replace(sample=sample) for sample in samples), warnings=picture.warnings)


def work_of(picture: Picture, source: Source, name: str, image_shape: tuple[int, int, int], job: Job) -> Work:
    """What there is to do of a picture for its first sample; its file's hash is left empty.

    Raises:
        PictureError: if it has not what the prior's channels need.
    """
    pixels = within(with_alpha(picture.pixels, picture.alpha, image_shape[2]), job.max_side)
    fit = job.fit_of(pixels.shape, image_shape)
    seen, shown = fitted(pixels, image_shape, fit), pixels.shape[:2] if fit in OWN_SIZE else image_shape[:2]
    left, top, right, bottom = region(picture.pixels.shape, image_shape, fit)
    size = (bottom - top, right - left) if job.keep_size else shown
    alpha = picture.alpha
    if alpha is not None:
        alpha = resized(alpha[top:bottom, left:right, None], size)[..., 0]
    kind, ending = output_format(job.format, picture.format, source.path.name)
    metadata = picture.metadata if size == picture.pixels.shape[:2] else picture.metadata._replace(dpi=None)
    digest = hashlib.sha256(eight_bits(seen, image_shape[2]).tobytes()).hexdigest()
    loss = _loss(picture.pixels.shape[:2], fit, image_shape, job)
    return Work(source, name, 0, "", digest, seen, fit, shown, size, alpha, kind, ending, metadata, loss)


def _loss(size: tuple[int, ...], fit: str, image_shape: tuple[int, int, int], job: Job) -> str | None:
    """What to say of a picture (H, W) of which more than half of the pixels are thrown away."""
    left = image_shape[0] * image_shape[1] / (size[0] * size[1])
    if fit in OWN_SIZE or left >= 0.5:
        return None
    instead = "auto" if job.larger in OWN_SIZE else "tile"
    return (
        f"of its {size[1]}x{size[0]} pixels {left:.1%} are left at the prior's size, {image_shape[1]}x{image_shape[0]}; "
        f"fit {instead} restores it at its own"
    )


def read_work(source: Source, image_shape: tuple[int, int, int], job: Job) -> Work:
    """The `work_of` a source, which is only looked at.

    Raises:
        PictureError: if it cannot be read.
    """
    if source.problem is not None:
        raise PictureError(source.problem)
    return work_of(open_picture(source.path), source, "", image_shape, job)


def _failed(prepared: Prepared, reason: str, job: Job, manifest: Manifest) -> Prepared:
    line = manifest.find(prepared.name, None, prepared.file_hash)
    return prepared._replace(failure=reason, earlier=() if line is None or job.retry_failed else (line,))


def _holds(line: Line, out: Path, job: Job) -> bool:
    if line["status"] == "done":
        told = "bits" in line or not job.likelihood
        return told and is_intact(out / line["output"], line["output_hash"])
    return not job.retry_failed
