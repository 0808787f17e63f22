"""A page's form, read into an order: what cannot be used is named, with the limits and in the words of the command line."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

import code_jax
from code_jax.demo.order import Offer, Order, noted
from code_jax.editing import methods
from code_jax.editing.options import OPTIONS, count, read_options
from code_jax.errors import UserError, brief, choose
from code_jax.pictures.decode import Picture
from code_jax.pictures.files import open_picture, read_mask
from code_jax.pictures.fitting import FITS, eight_bits, fitted, region, resized, with_alpha
from code_jax.pictures.loading import PictureError
from code_jax.pictures.metadata import Metadata
from code_jax.priors.load import bundled_samples
from code_jax.runs.job import Job
from code_jax.runs.micro_batch import default_micro_batch

MOST_SAMPLES = 16
_MOST_PIXELS = 50_000_000  # of a picture, and of an order's results together
_NAMES = {(option.word or option.name).replace("-", "_"): option.name for option in OPTIONS.values()}


def read_order(form: Mapping[str, Any], offers: Mapping[str, Offer]) -> Order:
    """The order of a page's form.

    Args:
        form: a method's options, by their names in Python or on the command line, ``method``, ``seed``, ``samples`` and ``fit``
            as strings; ``prior``; ``sample`` (a bundled picture's name) or ``picture`` (a data URL), or ``size`` ([height,
            width]), which is enough to know what an order costs; optionally ``mask`` (a data URL), and ``corruption`` with
            ``severity``.
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
    seed, samples = _whole(texts, "seed", 0, 2**32 - 1), _whole(texts, "samples", 1, MOST_SAMPLES)
    picture, shape, fit = _picture(form), offer.prior.image_shape, texts.get("fit") or "resize"
    choose("fit", fit, dict.fromkeys(FITS))
    if picture.pixels.shape[:2] == shape[:2]:
        fit = "resize"  # a picture of the prior's own size needs no windows
    if fit == "tile" and not method.tiles:
        raise UserError(f"the method {method.name} works at the prior's size alone; choose another size, or another method")
    if form.get("mask") and not method.masks:
        raise UserError(f"the method {method.name} takes no mask; clear it, or choose another method")
    try:
        pixels = eight_bits(fitted(with_alpha(picture.pixels, picture.alpha, shape[2]), shape, fit), shape[2])
    except PictureError as error:
        raise UserError(f"the picture cannot be used: {error}") from error
    if pixels.shape[0] * pixels.shape[1] * samples > _MOST_PIXELS:
        raise UserError(f"{samples} samples of a picture of this size are too many; ask for fewer")
    left, top, right, bottom = region(picture.pixels.shape, shape, fit)
    size = (bottom - top, right - left) if fit == "tile" else shape[:2]
    alpha = None if picture.alpha is None else resized(picture.alpha[top:bottom, left:right, None], size)[..., 0]
    metadata = picture.metadata if size == picture.pixels.shape[:2] else picture.metadata._replace(dpi=None)
    job = Job(samples, seed, default_micro_batch() if fit == "tile" else 1, fit, mask=_mask(form, shape, fit))
    warnings = method.warn(config, offer.prior) + picture.warnings
    order = Order(offer, config, pixels, noted(job, offer, config), size, metadata, alpha, None, warnings)
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
    if not all(isinstance(side, int) and side > 0 for side in (height, width)) or height * width > _MOST_PIXELS:
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
