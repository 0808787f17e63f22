"""An order: what a page asks for, checked; and the facts, command line and Python call of its result.

A page's form is read as the command line's words are: the same options, the same limits and the same messages.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import io
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

import code_jax
from code_jax.editing import methods
from code_jax.editing.keys import fold_keys, image_key
from code_jax.editing.options import count, read_options
from code_jax.editing.settings import Settings, to_plain
from code_jax.errors import UserError
from code_jax.pictures.files import read_mask, read_picture
from code_jax.pictures.loading import PictureError
from code_jax.priors.load import bundled_samples
from code_jax.priors.prior import Prior
from code_jax.runs.commands import command_of
from code_jax.runs.job import Job

_MOST_PIXELS = 50_000_000
_MOST_SAMPLES = 16


class Offer(NamedTuple):
    """A prior that pages may choose, and the hash of its weights."""

    name: str
    prior: Prior
    weights: str
    precision: str


class Order(NamedTuple):
    """Everything that determines a result.

    Attributes:
        offer: the prior.
        config: the settings.
        pixels: the input as the prior sees it, uint8 [H, W, 3].
        job: mask, seed, number of samples and the settings to note; micro-batch 1.
        sample: which of the samples.
    """

    offer: Offer
    config: Settings
    pixels: np.ndarray
    job: Job
    sample: int = 0

    @property
    def key(self) -> jax.Array:
        """The typed key [1] that ``code-jax restore`` gives these pixels."""
        return fold_keys(image_key(self.job.seed, self.digest, self.sample)[None])

    @property
    def digest(self) -> str:
        """SHA-256 of the pixels."""
        return hashlib.sha256(self.pixels.tobytes()).hexdigest()

    @property
    def facts(self) -> dict[str, Any]:
        """What the result's PNG says of its origin."""
        return self.job.facts(self.digest, self.sample, self.offer.weights)

    def with_point(self, sigma: float, relative_step: float) -> Order:
        """The same at another noise level and h/(1 − ᾱ)."""
        config: Any = self.config
        config = config.replace(sigma=np.full_like(config.sigma, sigma), relative_step=relative_step)
        config = config.method.canonical(config, self.offer.prior)
        return self._replace(config=config, job=_job(self.job, self.offer, config))


def read_order(form: Mapping[str, Any], offers: Mapping[str, Offer]) -> Order:
    """The order of a page's form.

    Args:
        form: a method's options, ``method``, ``seed``, ``samples`` and ``fit`` as strings; ``prior``;
            ``sample`` (a bundled picture's name) or ``picture`` (a data URL);
            optionally ``mask`` (a data URL), and ``corruption`` with ``severity``.
        offers: the priors that may be chosen.

    Raises:
        UserError: names what cannot be used.
    """
    offer = offers.get(str(form.get("prior")))
    if offer is None:
        raise UserError(f"prior {form.get('prior')!r} is not offered here; choose from {', '.join(offers)}")
    texts = {
        name.replace("-", "_").replace("ode_steps", "num_steps"): str(value) for name, value in form.items() if value is not None
    }
    method = methods.find(texts.get("method") or "code")
    config = method.canonical(method.configure(read_options(texts, method.options)), offer.prior)
    seed, samples, fit = (
        _whole(texts, "seed", 0, 2**32 - 1),
        _whole(texts, "samples", 1, _MOST_SAMPLES),
        texts.get("fit") or "resize",
    )
    if fit not in ("resize", "crop"):
        raise UserError(f"fit is {fit!r}; it must be resize or crop")
    shape = offer.prior.image_shape
    pixels = _corrupted(_picture(form, shape, fit), form, seed)
    mask = _decoded(form["mask"], "mask", read_mask, shape, fit) if form.get("mask") else None
    job = Job(samples=samples, seed=seed, micro_batch=1, fit=fit, mask=mask)
    return Order(offer, config, pixels, _job(job, offer, config))


def python_of(order: Order) -> str:
    """The Python call that gives the order's result."""
    masked = order.job.mask is not None
    reading = f"read_picture(INPUT, prior.image_shape, {order.job.fit!r})"
    return "\n".join(
        [
            "import hashlib, code_jax",
            "from code_jax.pictures.files import read_mask, read_picture",
            "from code_jax.editing.keys import fold_keys, image_key",
            "from code_jax.editing.settings import from_plain",
            f"prior = code_jax.load_prior({order.offer.name!r}, precision={order.offer.precision!r})",
            f"pixels = {reading}",
            *([f"mask = read_mask(MASK, prior.image_shape, {order.job.fit!r})"] if masked else []),
            f"key = fold_keys(image_key({order.job.seed}, hashlib.sha256(pixels.tobytes()).hexdigest(), {order.sample})[None])",
            f"config = from_plain({to_plain(order.config)!r})",
            f"result = code_jax.edit(key, prior, code_jax.from_uint8(pixels[None]), config{', mask' if masked else ''})",
            'code_jax.to_pil(result.images)[0].save("result.png")',
        ]
    )


def command_line(order: Order) -> str:
    """The command line that gives the order's result."""
    return command_of(order.facts)


def _job(job: Job, offer: Offer, config: Settings) -> Job:
    settings = {"prior": offer.name, "precision": offer.precision, "fit": job.fit} | to_plain(config)
    return dataclasses.replace(job, settings=settings)


def _whole(texts: Mapping[str, str], name: str, least: int, most: int) -> int:
    try:
        value = count(texts.get(name) or str(least))
    except ValueError as error:
        raise UserError(f"{name}: {error}") from error
    if not least <= value <= most:
        raise UserError(f"{name} is {value}; it must be from {least} to {most}")
    return value


def _picture(form: Mapping[str, Any], shape: tuple[int, int, int], fit: str) -> np.ndarray:
    if form.get("picture"):
        return _decoded(form["picture"], "picture", read_picture, shape, fit)
    samples = {path.name: path for path in bundled_samples()}
    if form.get("sample") not in samples:
        raise UserError("no picture: drop one on the page, or pick a sample")
    return read_picture(samples[form["sample"]], shape, fit)


def _decoded(url: Any, what: str, read: Any, shape: tuple[int, int, int], fit: str) -> np.ndarray:
    try:
        data = base64.b64decode(str(url).partition(",")[2], validate=True)
        pixels: np.ndarray = read(io.BytesIO(data), shape, fit, most_pixels=_MOST_PIXELS)
    except binascii.Error:
        raise UserError(f"the {what} is no picture that a browser sends") from None
    except PictureError as error:
        raise UserError(f"the {what} cannot be read: {error}") from error
    return pixels


def _corrupted(pixels: np.ndarray, form: Mapping[str, Any], seed: int) -> np.ndarray:
    if not form.get("corruption"):
        return pixels
    try:
        severity = int(form.get("severity", 5))
    except ValueError:
        raise UserError(f"severity is {form['severity']!r}; it must be a whole number") from None
    return code_jax.corrupt(pixels, str(form["corruption"]), severity=severity, seed=seed)
