"""Measuring pictures, a batch at a time: what becomes of each depends on its own pixels and the seed alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from code_jax.devices.mesh import devices_for, sharding
from code_jax.diffusion.tiling import tiled
from code_jax.editing.keys import fold_keys, image_key
from code_jax.pictures.fitting import as_floats
from code_jax.pictures.loading import PictureError
from code_jax.priors.prior import Prior
from code_jax.runs.job import Job
from code_jax.runs.listing import Source
from code_jax.runs.tasks import Work, read_work

_SAMPLE = 2**32 - 1  # of the keys: a number that no result's sample has


@dataclasses.dataclass(frozen=True)
class Gauge:
    """Measures pictures in batches of one size; noise comes from the seed and a hash, which versions of a picture may share.

    Attributes:
        measure: ``(keys [B], denoiser, images [B, H, W, C]) -> tuple`` of arrays [B, ...], or [] of what is the same of all.
        prior: on each of the devices.
        devices: which.
        seed: of the run.
        micro_batch: pictures, or windows of a larger one, on each device at a time.
    """

    measure: Callable[[jax.Array, Any, jax.Array], Any]
    prior: Prior
    devices: Sequence[jax.Device]
    seed: int
    micro_batch: int

    @classmethod
    def on_devices(cls, measure: Callable[..., Any], prior: Prior, seed: int, micro_batch: int, pictures: int | None) -> Gauge:
        """A gauge with the prior on as many devices as so many pictures occupy, or on all."""
        devices = devices_for(prior, jax.local_device_count() if pictures is None else -(-pictures // micro_batch))
        return cls(measure, jax.device_put(prior, sharding(devices)), devices, seed, micro_batch)

    @property
    def in_flight(self) -> int:
        """Inputs of the network at a time."""
        return self.micro_batch * len(self.devices)

    def __call__(self, digests: Sequence[str], pictures: Sequence[np.ndarray]) -> Any:
        """What is measured of up to `in_flight` pictures [H, W, C] of the prior's size, or of one that is larger."""
        shape, count = pictures[0].shape, len(pictures)
        fits = shape == self.prior.image_shape
        words = np.zeros((self.in_flight if fits else 1, 6), np.uint32)
        words[:count] = [image_key(self.seed, digest, _SAMPLE) for digest in digests]
        images = np.zeros((len(words), *shape), np.float32)
        images[:count] = pictures
        shared, everywhere = sharding(self.devices, "batch"), sharding(self.devices)
        keys, images = jax.device_put((fold_keys(words), images), shared if fits else everywhere)
        denoiser: Any = self.prior
        if not fits:
            denoiser = jax.device_put(tiled(self.prior, shape[:2], chunk=self.in_flight, sharding=shared), everywhere)
        found = jax.device_get(self.measure(keys, denoiser, images))
        return jax.tree.map(lambda value: value[:count] if np.ndim(value) else value, found)


class Reading(NamedTuple):
    """What was measured of a source, and the hash of its pixels; or why it cannot be read."""

    source: Source
    digest: str | None
    values: Any
    failure: str | None = None


def readings(sources: Sequence[Source], gauge: Gauge, fit: str) -> Iterator[Reading]:
    """Of each source in order."""
    size, job = 1 if fit == "tile" else gauge.in_flight, Job(fit=fit)
    channels = gauge.prior.image_shape[2]
    for first in range(0, len(sources), size):
        read = [_read(source, gauge.prior.image_shape, job) for source in sources[first : first + size]]
        works = [each for each in read if isinstance(each, Work)]
        if works:
            found = gauge([work.digest for work in works], [as_floats(work.pixels, channels) for work in works])
        number = 0
        for source, each in zip(sources[first : first + size], read, strict=True):
            if isinstance(each, Work):
                values = jax.tree.map(lambda leaf, k=number: leaf[k] if np.ndim(leaf) else leaf, found)
                yield Reading(source, each.digest, values)
                number += 1
            else:
                yield Reading(source, None, None, str(each))


def _read(source: Source, image_shape: tuple[int, int, int], job: Job) -> Work | PictureError:
    try:
        return read_work(source, image_shape, job)
    except PictureError as error:
        return error
