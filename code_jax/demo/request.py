"""A page's form, read into an order: what cannot be used is named, with the limits and in the words of the command line."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import code_jax
from code_jax.demo.order import Offer, Order, noted
from code_jax.documents import is_whole
from code_jax.editing import methods
from code_jax.editing.conditions import labelled
from code_jax.editing.options import OPTIONS, count, read_options
from code_jax.errors import UserError, brief, choose
from code_jax.pictures.decode import Picture
from code_jax.pictures.files import open_picture, read_mask
from code_jax.pictures.fits import FITS, OWN_SIZE
from code_jax.pictures.fitting import eight_bits
from code_jax.pictures.loading import PictureError
from code_jax.pictures.metadata import Metadata
from code_jax.priors.load import bundled_samples
from code_jax.runs.job import Job, check_fit, larger_fit
from code_jax.runs.listing import Source
from code_jax.runs.micro_batch import default_micro_batch
from code_jax.runs.tasks import work_of

MOST_SAMPLES = 16
_MOST_PIXELS = 50_000_000  # of a picture, and of an order's results together
_NAMES = {(option.word or option.name).replace("-", "_"): option.name for option in OPTIONS.values()}


def read_order(form: Mapping[str, Any], offers: Mapping[str, Offer]) -> Order:
    """The order of a page's form.

    Args:
        form: a method's options, by their names in Python or on the command line, ``method``, ``seed``, ``samples``, ``fit``,
            ``max_side`` and ``label`` as strings; ``prior``; ``sample`` (a bundled picture's name) or ``picture`` (a data URL),
            or ``size`` ([height, width]), which is enough to know what an order costs; optionally ``mask`` (a data URL), and
            ``corruption`` with ``severity``.
        offers: the priors that may be chosen.

    Raises:
        UserError: names what cannot be used.
    """
    offer = offers.get(str(form.get("prior")))
    if offer is None:
        raise UserError(f"prior {form.get('prior')!r} is not offered here; choose from {', '.join(offers)}")
    given = {name.replace("-", "_"): str(value) for name, value in form.items() if value is not None}
    texts = {_NAMES.get(name, name): value for name, value in given.items()}
    method = methods.find(texts.get("method") or "code")
    config = method.canonical(method.configure(read_options(texts, method.options)), offer.prior)
    label = None if texts.get("label", "") in ("", "none") else _whole(texts, "label", 0, 2**31 - 1)
    labelled(offer.prior, label, config)
    seed, samples = _whole(texts, "seed", 0, 2**32 - 1), _whole(texts, "samples", 1, MOST_SAMPLES)
    picture, shape, fit = _picture(form), offer.prior.image_shape, texts.get("fit") or "auto"
    choose("fit", fit, FITS)
    check_fit(fit, method)
    max_side = None if not texts.get("max_side") else _whole(texts, "max_side", 1, _MOST_PIXELS)
    if form.get("mask") and not method.masks:
        raise UserError(f"the method {method.name} takes no mask; clear it, or choose another method")
    job = Job(samples, seed, 1, fit, larger_fit(offer.prior, method), max_side, label=label)
    if picture.pixels.shape[:2] == shape[:2]:
        job = dataclasses.replace(job, fit="resize")  # it needs no windows
    try:
        work = work_of(picture, Source(Path("picture"), "picture", None), shape, job)
    except PictureError as error:
        raise UserError(f"the picture cannot be used: {error}") from error
    pixels = eight_bits(work.pixels, shape[2])
    if pixels.shape[0] * pixels.shape[1] * samples > _MOST_PIXELS:
        raise UserError(f"{samples} samples of a picture of this size are too many; ask for fewer")
    at_a_time = default_micro_batch() if work.fit in OWN_SIZE else 1
    job = dataclasses.replace(job, fit=work.fit, micro_batch=at_a_time, mask=_mask(form, shape, work.fit))
    warnings = (*method.warn(config, offer.prior), *picture.warnings, *([] if work.loss is None else [work.loss]))
    order = Order(offer, config, pixels, noted(job, offer, config), work.size, work.metadata, work.alpha, None, warnings)
    if not form.get("corruption"):
        return order
    severity = _whole(texts | {"severity": texts.get("severity", "5")}, "severity", 1, 5)
    return order._replace(clean=pixels, pixels=code_jax.corrupt(pixels, str(form["corruption"]), severity, seed))


def _picture(form: Mapping[str, Any]) -> Picture:
    if form.get("size"):
        return Picture(np.zeros((*_size(form["size"]), 3), np.uint8), None, "PNG", Metadata(), ())
    if form.get("picture"):
        return _read(form["picture"], "picture", open_picture)
    sample = {path.name: path for path in bundled_samples()}.get(str(form.get("sample")))
    if sample is None:
        raise UserError("no picture: drop one on the page, or pick a sample")
    return open_picture(sample)


def _mask(form: Mapping[str, Any], shape: tuple[int, int, int], fit: str) -> np.ndarray | None:
    if not form.get("mask"):
        return None
    return _read(form["mask"], "mask", lambda file, **bound: read_mask(file, shape, fit, **bound))


def _read(url: Any, what: str, read: Any) -> Any:
    """What a reader of files makes of a data URL."""
    try:
        data = base64.b64decode(str(url).partition(",")[2], validate=True)
    except ValueError:
        raise UserError(f"the {what} is no picture that a browser sends") from None
    try:
        return read(io.BytesIO(data), most_pixels=_MOST_PIXELS)
    except PictureError as error:
        raise UserError(f"the {what} cannot be read: {error}") from error


def _size(size: Any) -> tuple[int, int]:
    height, width = size if isinstance(size, list) and len(size) == 2 else (0, 0)
    if not all(is_whole(side, 1) for side in (height, width)) or height * width > _MOST_PIXELS:
        raise UserError(f"size is {brief(size)}; it must be [height, width] of at most {_MOST_PIXELS / 1e6:.0f} million pixels")
    return height, width


def _whole(texts: Mapping[str, str], name: str, least: int, most: int) -> int:
    try:
        value = count(texts.get(name) or str(least))
    except ValueError as error:
        raise UserError(f"{name}: {error}") from error
    if not least <= value <= most:
        raise UserError(f"{name} is {value}; it must be from {least} to {most}")
    return value
