"""From what the prior made to a file, with its original's size, depth, gray, transparency and metadata."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from code_jax.durable import write_durably
from code_jax.pictures.arrays import quantized
from code_jax.pictures.encode import encode_picture
from code_jax.pictures.files import read_picture
from code_jax.pictures.fitting import eight_bits, luminance, resized
from code_jax.pictures.loading import PictureError
from code_jax.runs.job import Job
from code_jax.runs.manifest import Line
from code_jax.runs.sources import result_names
from code_jax.runs.tasks import Work


class Written(NamedTuple):
    """A result's line of the manifest (failed, where its format cannot hold it), and what to warn of."""

    line: Line
    warnings: list[str]


def write_result(
    image: np.ndarray, work: Work, out: Path, image_shape: tuple[int, int, int], job: Job, weights: str, facts: dict[str, Any]
) -> Written:
    """Writes a result and says so.

    Args:
        image: floats [H, W, C] in [−1, 1], as the prior saw the picture.
        work: what it is the result of.
        weights: the prior's hash.
        facts: what the line says of the result besides.

    Raises:
        OSError: if it cannot be written, which will be so for all others.
    """
    pixels = seen_pixels(image, work)
    origin = job.facts(work.digest, work.sample, weights)
    if job.keep_size:
        origin["size"] = list(image_shape[:2])
    if "bits" in facts:
        origin["bits"] = facts["bits"]
    line = line_of(work) | facts
    line["psnr_input"] = psnr_to_input(pixels, work, image_shape[2])
    psnr, warnings = _psnr(pixels, work, image_shape, job)
    try:
        data, more = encode_picture(
            brought_back(pixels, work),
            work.alpha, work.kind, work.metadata, quality=job.quality, facts=origin,
        )  # fmt: skip
    except PictureError as error:
        return Written(line | {"output": None, "status": "failed", "error": str(error)}, warnings)
    name = result_names(Path(work.name).name, job.samples)[work.sample] + work.ending
    output = Path(work.name).with_name(name)
    write_durably(out / output, data)
    line |= {"output": output.as_posix(), "status": "done", "output_hash": hashlib.sha256(data).hexdigest()} | psnr
    return Written(line, warnings + more)


def line_of(work: Work) -> Line:
    """What every line of the manifest says of a work."""
    return {
        "input": str(work.source.path.absolute()),
        "name": work.name,
        "sample": work.sample,
        "file_hash": work.file_hash,
        "hash": work.digest,
    }


def seen_pixels(image: np.ndarray, work: Work) -> np.ndarray:
    """Floats [H, W, C] in [−1, 1] as integers of the original's depth, gray where it is: [H, W, 1, 3 or 4]."""
    gray = work.pixels.shape[2] == 1
    if gray and image.shape[2] == 3:
        image = luminance(image)
    pixels = quantized(image, np.uint16 if work.pixels.dtype == np.uint16 else np.uint8)
    return pixels if gray or pixels.shape[2] != 1 else pixels.repeat(3, axis=2)


def brought_back(pixels: np.ndarray, work: Work) -> np.ndarray:
    """A result as the prior saw it, brought to its picture's size."""
    return resized(pixels[: work.shown[0], : work.shown[1]], work.size)


def psnr_to(clean: np.ndarray, pixels: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of uint8 pictures of one shape; on the host, so that no size compiles anything."""
    error = np.mean((pixels.astype(np.float64) - clean) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def psnr_of_codec(error: float) -> float | None:
    """PSNR in dB of a mean squared error of images in [−1, 1]; None where there is none."""
    return float(10 * np.log10(4 / error)) if error else None


def psnr_to_input(pixels: np.ndarray, work: Work, channels: int) -> float | None:
    """PSNR in dB of a result to its input, both as the prior saw them; None, as JSON has infinity, where they are equal."""
    value = psnr_to(*(eight_bits(each, channels) for each in (work.pixels, pixels)))
    return value if np.isfinite(value) else None


def _psnr(pixels: np.ndarray, work: Work, image_shape: tuple[int, int, int], job: Job) -> tuple[dict[str, Any], list[str]]:
    if work.source.reference is None:
        return {}, []
    try:
        clean = read_picture(work.source.reference, image_shape, work.fit, job.max_side)
        if clean.shape[:2] != pixels.shape[:2]:
            raise PictureError(f"its size {clean.shape[1]}x{clean.shape[0]} is not the input's")
    except PictureError as error:
        return {}, [f"the clean source {str(work.source.reference)!r} cannot be used: {error}"]
    before, after = (psnr_to(clean, eight_bits(each, clean.shape[2])) for each in (work.pixels, pixels))
    return {"psnr": [before, after]}, []
