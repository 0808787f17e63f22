"""An order: everything that determines a result, and how the same is had on the command line and in Python."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from code_jax.editing.keys import digest_of, fold_keys, image_key
from code_jax.editing.settings import Settings, to_plain
from code_jax.pictures.fits import OWN_SIZE
from code_jax.pictures.metadata import Metadata
from code_jax.priors.prior import Prior
from code_jax.runs.commands import command_of
from code_jax.runs.job import Job


class Offer(NamedTuple):
    """A prior that pages may choose, the hash of its weights, and how fast it has been here."""

    name: str
    prior: Prior
    weights: str
    precision: str
    pace: Pace


class Pace:
    """How long things took here, as last measured.

    Attributes:
        seconds: of the network for one input; None before any.
        preparing: of a program, until its first results; 0 before any.
    """

    seconds: float | None = None
    preparing: float = 0.0

    def note(self, evaluations: float, seconds: float) -> None:
        """Takes a measurement."""
        if evaluations:
            self.seconds = seconds / evaluations


class Order(NamedTuple):
    """Everything that determines a result.

    Attributes:
        offer: the prior.
        config: the settings, canonical.
        pixels: the input as the prior sees it, uint8 [H, W, C].
        job: mask, fit, seed, number of samples and the settings to note.
        size: (H, W) of the result: the input's, without what a small one was continued by.
        metadata, alpha: what the result keeps of the picture's file.
        clean: the picture before a corruption that the page asked for; None where it asked for none.
        warnings: what a person should know before.
        sample: which of the samples.
    """

    offer: Offer
    config: Settings
    pixels: np.ndarray
    job: Job
    size: tuple[int, int]
    metadata: Metadata = Metadata()
    alpha: np.ndarray | None = None
    clean: np.ndarray | None = None
    warnings: tuple[str, ...] = ()
    sample: int = 0

    @property
    def key(self) -> jax.Array:
        """The typed key [1] that ``code-jax restore`` gives these pixels."""
        return fold_keys(image_key(self.job.seed, digest_of(self.pixels), self.sample)[None])

    @property
    def facts(self) -> dict[str, Any]:
        """What the result's PNG says of its origin."""
        return self.job.facts(digest_of(self.pixels), self.sample, self.offer.weights)

    @property
    def input(self) -> np.ndarray:
        """The picture itself, uint8 [H, W, C] of the result's size."""
        return self.pixels[: self.size[0], : self.size[1]]

    def with_point(self, sigma: float, relative_step: float) -> Order:
        """The same at another noise level and h/(1 − ᾱ)."""
        config: Any = self.config
        config = config.replace(sigma=np.full_like(config.sigma, sigma), relative_step=relative_step)
        config = config.method.canonical(config, self.offer.prior)
        return self._replace(config=config, job=noted(self.job, self.offer, config))


def noted(job: Job, offer: Offer, config: Settings) -> Job:
    """The job with the settings that its results say of themselves."""
    settings = {"prior": offer.name, "precision": offer.precision, "fit": job.fit} | to_plain(config)
    settings |= {name: value for name, value in (("max_side", job.max_side), ("label", job.label)) if value is not None}
    return dataclasses.replace(job, settings=settings)


def command_line(order: Order) -> str:
    """The command line that gives the order's result."""
    return command_of(order.facts)


def python_of(order: Order) -> str:
    """The Python call that gives the order's result."""
    job, offer, plain = order.job, order.offer, to_plain(order.config)
    label, condition = ("" if job.label is None else f", {name}={job.label}" for name in ("label", "condition"))
    if job.fit in OWN_SIZE:
        options = f"fit={job.fit!r}, max_side={job.max_side}, keep_size=False, samples={order.sample + 1}, seed={job.seed}{label}"
        lines = [
            "import code_jax",
            "from code_jax.editing.settings import from_plain",
            f"prior = code_jax.load_prior({offer.name!r}, precision={offer.precision!r})",
            f"config = from_plain({plain!r})",
            f"made = code_jax.restore(INPUT, prior, config, mask={None if job.mask is None else 'MASK'}, {options})",
            f'made.pictures[{order.sample}].save("result.png")',
        ]
        return "\n".join(lines)
    lines = [
        "import code_jax",
        "from code_jax.editing.keys import digest_of, fold_keys, image_key",
        "from code_jax.editing.settings import from_plain",
        "from code_jax.pictures.files import read_mask, read_picture",
        f"prior = code_jax.load_prior({offer.name!r}, precision={offer.precision!r})",
        f"pixels = read_picture(INPUT, prior.image_shape, {job.fit!r})",
        "mask = None" if job.mask is None else f"mask = read_mask(MASK, prior.image_shape, {job.fit!r})",
        f"key = fold_keys(image_key({job.seed}, digest_of(pixels), {order.sample})[None])",
        f"config = from_plain({plain!r})",
        f"images = code_jax.edit(key, prior, code_jax.from_uint8(pixels[None]), config, mask{condition}).images",
        'code_jax.to_pil(images)[0].save("result.png")',
    ]
    return "\n".join(lines)
