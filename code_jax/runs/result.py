"""From what the prior made to a file, with its original's size, depth, gray, transparency and metadata."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from code_jax.editing.settings import Settings
from code_jax.pictures.arrays import quantized
from code_jax.pictures.encode import encode_picture
from code_jax.pictures.files import read_picture
from code_jax.pictures.fitting import eight_bits, luminance, resized
from code_jax.pictures.loading import PictureError
from code_jax.priors.prior import Prior
from code_jax.runs.job import Job
from code_jax.runs.lines import Line
from code_jax.runs.sources import result_names
from code_jax.runs.tasks import Work
from code_jax.storage.address import Place
from code_jax.storage.whole import write


class Restored(NamedTuple):
    """A work's result: floats [H, W, C] in [−1, 1] as the prior saw the picture, whether finite, and facts for the manifest."""

    image: np.ndarray
    finite: bool
    facts: dict[str, Any]


class Written(NamedTuple):
    """A result's line of the manifest (failed, where its format cannot hold it), and what to warn of."""

    line: Line
    warnings: list[str]


def write_result(
    restored: Restored, work: Work, out: Place, prior: Prior, config: Settings, job: Job, weights: str, seconds: float
) -> Written:  # fmt: skip
    """Writes a result and says so.

    Args:
        restored: what the prior made.
        work: what it is the result of.
        weights: the prior's hash.
        seconds: what it took.

    Raises:
        OSError: if it cannot be written, which will be so for all others.
    """
    if not restored.finite:
        reason = why_not_finite(prior, config, job.settings)
        return _failed(line_of(work), f"the result is not finite: {reason}", [])
    image_shape = prior.image_shape
    pixels = seen_pixels(restored.image, work)
    origin = job.facts(work.digest, work.sample, weights)
    if job.keep_size:
        origin["size"] = list(image_shape[:2])
    if "bits" in restored.facts:
        origin["bits"] = restored.facts["bits"]
    line = line_of(work) | restored.facts | {"seconds": seconds}
    line["psnr_input"] = psnr_to_input(pixels, work, image_shape[2])
    psnr, warnings = _psnr(pixels, work, image_shape, job)
    try:
        data, more = encode_picture(
            brought_back(pixels, work),
            work.alpha, work.kind, work.metadata, quality=job.quality, facts=origin,
        )  # fmt: skip
    except PictureError as error:
        return _failed(line, str(error), warnings)
    name = result_names(PurePosixPath(work.source.name).name, job.samples)[work.sample] + work.ending
    output = PurePosixPath(work.source.name).with_name(name)
    version = write(out / output, data)
    line |= {"output": output.as_posix(), "status": "done", "output_hash": hashlib.sha256(data).hexdigest()} | psnr
    if version is not None:
        line["output_version"] = version
    return Written(line, warnings + more)


def _failed(line: Line, reason: str, warnings: list[str]) -> Written:
    return Written(line | {"output": None, "status": "failed", "error": reason}, warnings)


def line_of(work: Work) -> Line:
    """What every line of the manifest says of a work."""
    line = {
        "input": str(work.source.path.absolute()),
        "name": work.source.name,
        "sample": work.sample,
        "file_hash": work.file_hash,
        "hash": work.digest,
    }
    return line if work.source.version is None else line | {"input_version": work.source.version}


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


def why_not_finite(prior: Prior, config: Settings, noted: Mapping[str, Any]) -> str:
    """What is likely to have made a result not finite, and the remedy, of settings and what is noted of them."""
    warnings = config.method.warn(config, prior)
    if warnings:
        return "; ".join(warnings)
    if noted.get("precision") == "bfloat16":
        return "try --precision float32"
    if noted.get("eta") == "none":
        return "try a smaller noise level or step size, or clipping (--eta 2)"
    return "try a smaller noise level or step size; if that does not help, the prior's weights are broken"
