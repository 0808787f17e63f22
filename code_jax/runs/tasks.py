"""What there is to do of an input: nothing, because it is done; nothing, because it cannot be; or results to make."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from code_jax.pictures.decode import Picture, decode_picture
from code_jax.pictures.encode import output_format
from code_jax.pictures.files import open_picture
from code_jax.pictures.fits import OWN_SIZE
from code_jax.pictures.fitting import eight_bits, fitted, region, resized, with_alpha, within
from code_jax.pictures.loading import PictureError, read_content
from code_jax.pictures.metadata import Metadata
from code_jax.runs.job import Job
from code_jax.runs.lines import Line
from code_jax.runs.listing import Source
from code_jax.runs.manifest import Told, found, is_intact
from code_jax.storage.address import Place, absolute


class Work(NamedTuple):
    """One result to make.

    Attributes:
        source: of which picture.
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
    file_hash: str | None
    todo: tuple[Work, ...] = ()
    earlier: tuple[Line, ...] = ()
    failure: str | None = None
    warnings: tuple[str, ...] = ()


def prepare(source: Source, told: Told, out: Place, image_shape: tuple[int, int, int], job: Job) -> Prepared:
    """Reads an input, unless all of its results are there and whole, or it failed before and is not to be tried again.

    told: what the manifest tells of it; an object whose version it tells of is not read to know what it is.
    """
    prepared = Prepared(source, None)
    versions = {line["file_hash"] for line in told.values() if source.version and line.get("input_version") == source.version}
    for file_hash in versions:
        prepared, missing = _kept(prepared, file_hash, told, out, job)
        if not missing:
            return prepared
    try:
        if source.problem is not None:
            raise PictureError(source.problem)
        data, version = read_content(source.path)
    except PictureError as error:
        return _failed(Prepared(source, None), str(error), told, job)
    prepared = prepared._replace(source=source._replace(version=version))
    prepared, missing = _kept(prepared, hashlib.sha256(data).hexdigest(), told, out, job)
    if not missing:
        return prepared
    try:
        return _decoded(prepared, data, missing, image_shape, job)
    except PictureError as error:
        return _failed(prepared, str(error), told, job)


def _kept(prepared: Prepared, file_hash: str, told: Told, out: Place, job: Job) -> tuple[Prepared, list[int]]:
    """An input of this content with the lines that hold, and the samples that are missing."""
    lines = [found(told, sample, file_hash) for sample in range(job.samples)]
    holding = {sample: line for sample, line in enumerate(lines) if line is not None and _holds(line, out, job)}
    earlier = {id(line): line for line in holding.values()}  # one line may be of all the samples
    missing = [sample for sample in range(job.samples) if sample not in holding]
    return prepared._replace(file_hash=file_hash, earlier=tuple(earlier.values())), missing


def _decoded(prepared: Prepared, data: bytes, samples: list[int], image_shape: tuple[int, int, int], job: Job) -> Prepared:
    picture = decode_picture(data, prepared.source.path.name, animated=job.animated)
    work = work_of(picture, prepared.source, image_shape, job)._replace(file_hash=prepared.file_hash or "")
    return prepared._replace(todo=tuple(work._replace(sample=sample) for sample in samples), warnings=picture.warnings)


def work_of(picture: Picture, source: Source, image_shape: tuple[int, int, int], job: Job) -> Work:
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
    loss = _loss(picture.pixels.shape[:2], pixels.shape[:2], fit, image_shape, job)
    return Work(source, 0, "", digest, seen, fit, shown, size, alpha, kind, ending, metadata, loss)


def _loss(
    size: tuple[int, ...], within: tuple[int, ...], fit: str, image_shape: tuple[int, int, int], job: Job
) -> str | None:  # fmt: skip
    """What to say of a picture (H, W), and within --max-side, of which more than half of the pixels are thrown away."""
    reduced = within[0] * within[1] / (size[0] * size[1])
    if reduced < 0.5:
        return f"of its {size[1]}x{size[0]} pixels {reduced:.1%} are left within --max-side {job.max_side}; give more for more"
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
    return work_of(open_picture(source.path), source, image_shape, job)


def line_of_input(source: Source, file_hash: str | None) -> Line:
    """What a line of the manifest says of an input as a whole."""
    line = {"input": absolute(source.path), "name": source.name, "sample": None, "file_hash": file_hash}
    return line if source.version is None else line | {"input_version": source.version}


def _failed(prepared: Prepared, reason: str, told: Told, job: Job) -> Prepared:
    line = found(told, None, prepared.file_hash)
    return prepared._replace(failure=reason, earlier=() if line is None or job.retry_failed else (line,))


def _holds(line: Line, out: Place, job: Job) -> bool:
    if line["status"] == "done":
        return ("bits" in line or not job.likelihood) and is_intact(out, line)
    return not job.retry_failed
