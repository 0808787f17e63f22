"""An order: what a page asks for, checked; and the facts, command line and Python call of its result.

A page's form is read by the command line's own parser: the same options, the same limits and the same messages.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import dataclasses
import hashlib
import io
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import code_jax
from code_jax.cli.main import parse
from code_jax.cli.restore import check_counts, configure, describe
from code_jax.editing.config import EditConfig
from code_jax.errors import UserError
from code_jax.pictures.files import read_mask, read_picture
from code_jax.pictures.loading import PictureError
from code_jax.pictures.provenance import command_of
from code_jax.priors.load import bundled_samples
from code_jax.priors.prior import Prior
from code_jax.runs.job import Job, fold_keys, image_key

OPTIONS = ("method", "preset", "depth", "relative-step", "eta", "ode-steps", "langevin-steps", "solver", "seed", "samples", "fit")
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
        config: an `EditConfig`.
        pixels: the input as the prior sees it, uint8 [H, W, 3].
        job: mask, seed, number of samples and the settings to note; micro-batch 1.
        sample: which of the samples.
    """

    offer: Offer
    config: EditConfig
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

    def with_point(self, depth: float, relative_step: float) -> Order:
        """The same at another depth and h/(1 − ᾱ)."""
        schedule = self.offer.prior.schedule
        depths = jnp.full_like(self.config.depth, depth)  # of the shape that it has: another would be another program
        config = self.config.replace(depth=depths, step_size=relative_step * schedule.variance(schedule.timestep(depths)))
        return self._replace(config=config, job=_job(self.job, self.offer, config))


def read_order(form: Mapping[str, Any], offers: Mapping[str, Offer]) -> Order:
    """The order of a page's form.

    Args:
        form: `OPTIONS` as strings; ``prior``; ``sample`` (a bundled picture's name) or ``picture`` (a data URL);
            optionally ``mask`` (a data URL), and ``corruption`` with ``severity``.
        offers: the priors that may be chosen.

    Raises:
        UserError: names what cannot be used.
    """
    offer = offers.get(str(form.get("prior")))
    if offer is None:
        raise UserError(f"prior {form.get('prior')!r} is not offered here; choose from {', '.join(offers)}")
    argv = [f"--{name}={form[name]}" for name in OPTIONS if form.get(name) not in (None, "")]
    args = parse(["restore", "INPUT", "--out", "DIR", "--prior", offer.name, "--precision", offer.precision, *argv])
    check_counts(args)
    if args.samples > _MOST_SAMPLES:
        raise UserError(f"samples is {args.samples}; the page makes {_MOST_SAMPLES} at most")
    config = configure(args, offer.prior.schedule)
    shape = offer.prior.image_shape
    pixels = _corrupted(_picture(form, shape, args.fit), form, args)
    mask = _decoded(form["mask"], "mask", read_mask, shape, args.fit) if form.get("mask") else None
    job = Job(samples=args.samples, seed=args.seed, micro_batch=1, fit=args.fit, mask=mask)
    return Order(offer, config, pixels, _job(job, offer, config))


def python_of(order: Order) -> str:
    """The Python call that gives the order's result."""
    numbers = describe(order.config)
    program = {name: numbers.pop(name) for name in order.config.program.__dataclass_fields__}
    numbers["eta"] = None if numbers["eta"] == "none" else numbers["eta"]
    settings = ", ".join(f"{name}={value!r}" for name, value in numbers.items())
    static = ", ".join(f"{name}={value!r}" for name, value in program.items())
    masked = order.job.mask is not None
    reading = f"read_picture(INPUT, prior.image_shape, {order.job.fit!r})"
    return "\n".join(
        [
            "import hashlib, code_jax",
            "from code_jax.pictures.files import read_mask, read_picture",
            "from code_jax.runs.job import fold_keys, image_key",
            f"prior = code_jax.load_prior({order.offer.name!r}, precision={order.offer.precision!r})",
            f"pixels = {reading}",
            *([f"mask = read_mask(MASK, prior.image_shape, {order.job.fit!r})"] if masked else []),
            f"key = fold_keys(image_key({order.job.seed}, hashlib.sha256(pixels.tobytes()).hexdigest(), {order.sample})[None])",
            f"program = code_jax.EditProgram({static})",
            f"config = code_jax.EditConfig({settings}, program=program)",
            f"result = code_jax.edit(key, prior, code_jax.from_uint8(pixels[None]), config{', mask' if masked else ''})",
            'code_jax.to_pil(result.images)[0].save("result.png")',
        ]
    )


def command_line(order: Order) -> str:
    """The command line that gives the order's result."""
    return command_of(order.facts)


def _job(job: Job, offer: Offer, config: EditConfig) -> Job:
    settings = {"prior": offer.name, "precision": offer.precision, "fit": job.fit} | describe(config)
    return dataclasses.replace(job, settings=settings)


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


def _corrupted(pixels: np.ndarray, form: Mapping[str, Any], args: argparse.Namespace) -> np.ndarray:
    if not form.get("corruption"):
        return pixels
    try:
        severity = int(form.get("severity", 5))
    except ValueError:
        raise UserError(f"severity is {form['severity']!r}; it must be a whole number") from None
    return code_jax.corrupt(pixels, str(form["corruption"]), severity=severity, seed=args.seed)
