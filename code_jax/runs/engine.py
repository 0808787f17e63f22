"""Batches through compiled programs: one for all pictures that are fitted, one for each canvas of those at their own size."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from code_jax.devices.mesh import devices_for, sharding
from code_jax.diffusion.codec import latent_shape
from code_jax.editing.edit import number_of_moves, run_in_segments, segments
from code_jax.editing.keys import fold_keys, image_key
from code_jax.editing.likelihood import log_likelihood
from code_jax.editing.pyramid import Size, settings_at
from code_jax.editing.result import EditResult
from code_jax.editing.settings import Settings
from code_jax.pictures.fits import OWN_SIZE
from code_jax.pictures.fitting import as_floats, resized
from code_jax.priors.prior import Prior
from code_jax.runs.canvas import Placed, place, pyramid_of, sizes_of, taken, windows_of
from code_jax.runs.gauge import Gauge
from code_jax.runs.job import Job
from code_jax.runs.result import Restored, psnr_of_codec, seen_pixels
from code_jax.runs.tasks import Work

_SEGMENTS = 10


@dataclasses.dataclass(frozen=True)
class Engine:
    """A prior on the devices of a run, with its settings."""

    prior: Prior
    config: Settings
    job: Job
    devices: Sequence[jax.Device]

    @classmethod
    def on_devices(cls, prior: Prior, config: Settings, job: Job, inputs: int) -> Engine:
        """An engine that has the prior on each of the job's devices, or on as many as so many inputs of the network occupy."""
        devices = devices_for(prior, -(-inputs // job.micro_batch), job.devices)
        return cls(jax.device_put(prior, sharding(devices)), config, job, devices)

    @property
    def in_flight(self) -> int:
        """Inputs of the network at a time."""
        return self.job.micro_batch * len(self.devices)

    @functools.cached_property
    def moves(self) -> int:
        """Moves of an image's route."""
        return number_of_moves(self.prior, self.config)[0]

    @property
    def factor(self) -> int:
        """Pixels along one of what the prior's z is of."""
        return int(self.prior.image_shape[0] // latent_shape(self.prior)[0])

    def calls(self, size: Size) -> int:
        """How often the network is called to evaluate a tiled picture (H, W) once."""
        return -(-windows_of(size, self.prior.image_shape) // self.in_flight)

    def steps(self, size: Size, fit: str) -> int:
        """Moves of a picture (H, W) at its own size, each as often as the network is called for it: a progress's units.

        A batch of fitted pictures has as many as its route has moves.
        """
        return self.moves * sum(map(self.calls, sizes_of(size, self.prior.image_shape, fit)))

    def pace(self) -> float:
        """Seconds of a step, measured on an empty picture with the program of small pictures at their own size."""
        empty = np.zeros(self.prior.image_shape, np.float32)
        keys, placed = self._placed(
            empty, None if self.job.mask is None else empty[..., 0], fold_keys(np.zeros((1, 6), np.uint32))
        )
        ended, bounds = [], [0, 1, min(2, self.moves)]
        for state in segments(keys, placed.denoiser, placed.images, self.config, bounds, placed.mask, self.job.label):
            jax.block_until_ready(state)
            ended.append(time.monotonic())
        return ended[-1] - ended[-2]  # the first is compiled

    def groups(self, works: Iterable[Work]) -> Iterator[list[Work]]:
        """The works in batches of one program: those at their own size one by one."""
        fitted: list[Work] = []
        for work in works:
            if work.fit in OWN_SIZE:
                yield [work]
                continue
            fitted.append(work)
            if len(fitted) == self.in_flight:
                yield fitted
                fitted = []
        if fitted:
            yield fitted

    def restore(self, group: list[Work], after: Callable[[int], None]) -> list[Restored]:
        """Restores one of the `groups`; `after(k)` is called with the `steps` made, now and then."""
        words = np.stack([image_key(self.job.seed, item.digest, item.sample) for item in group])
        restored = self._at_own_size(group[0], words, after) if group[0].fit in OWN_SIZE else self._fitted(group, words, after)
        return self._with_bits(group, restored) if self.job.likelihood else restored

    def _with_bits(self, group: list[Work], restored: list[Restored]) -> list[Restored]:
        """The results with their bits per dimension, of the input and of the pixels that are written, at the same noise."""
        measure = functools.partial(log_likelihood, condition=self.job.label)
        gauge = Gauge(measure, self.prior, self.devices, self.job.seed, self.job.micro_batch)
        digests, channels = [item.digest for item in group], self.prior.image_shape[2]
        after = [seen_pixels(each.image, item) for item, each in zip(group, restored, strict=True)]
        found = [gauge(digests, [as_floats(each, channels) for each in of]) for of in ([item.pixels for item in group], after)]
        told = []
        for i, each in enumerate(restored):
            pairs = {"bits": [float(of.bits[i]) for of in found], "bits_error": [float(of.standard_error[i]) for of in found]}
            finite = all(map(math.isfinite, pairs["bits"]))
            facts = {name: [round(value, 6) for value in pair] if finite else None for name, pair in pairs.items()}
            told.append(each._replace(facts=each.facts | facts))
        return told

    def _fitted(self, group: list[Work], words: np.ndarray, after: Callable[[int], None]) -> list[Restored]:
        images = np.zeros((self.in_flight, *self.prior.image_shape), np.float32)
        for item, image in zip(group, images, strict=False):
            image[:] = as_floats(item.pixels, image.shape[2])
        words = np.pad(words, ((0, self.in_flight - len(group)), (0, 0)))
        keys, placed = jax.device_put((fold_keys(words), images), sharding(self.devices, "batch"))
        result = run_in_segments(keys, self.prior, placed, self.config, self._bounds, after, self._mask, self.job.label)
        result = jax.device_get(result)
        return [self._restored(result, i, item.pixels.shape[:2]) for i, item in enumerate(group)]

    def _at_own_size(self, item: Work, words: np.ndarray, after: Callable[[int], None]) -> list[Restored]:
        """Level after level, of which there is one where it is tiled alone."""
        pyramid = pyramid_of(item.pixels, self.job.mask, self.prior.image_shape, item.fit)
        made, evaluations, below = 0, 0, None
        for level, size in enumerate(pyramid.sizes):
            share = None if pyramid.shares is None else pyramid.shares[level]
            keys, placed = self._placed(pyramid.start(level, below), share, pyramid.keys(level, fold_keys(words)))
            settings, calls, label = settings_at(level, self.config, self.prior), self.calls(size), self.job.label
            told = lambda moves, made=made, calls=calls: after(made + moves * calls)  # noqa: E731
            result = run_in_segments(keys, placed.denoiser, placed.images, settings, self._bounds, told, placed.mask, label)
            restored = self._restored(jax.device_get(result), 0, size)
            made, evaluations, below = made + self.moves * calls, evaluations + restored.facts["nfe"], restored.image
        return [restored._replace(facts=restored.facts | {"nfe": evaluations})]

    def _placed(self, image: np.ndarray, share: np.ndarray | None, keys: jax.Array) -> tuple[jax.Array, Placed]:
        """Keys and a picture [H, W, C] on its canvas, on all devices; its windows are shared among them."""
        placed = place(self.prior, image, share, self.in_flight, sharding(self.devices, "batch"))
        keys, images, denoiser = jax.device_put((keys, placed.images, placed.denoiser), sharding(self.devices))
        return keys, placed._replace(images=images, denoiser=denoiser)

    @property
    def _bounds(self) -> np.ndarray:
        return np.unique(np.linspace(0, self.moves, _SEGMENTS + 1).astype(int))

    @functools.cached_property
    def _mask(self) -> np.ndarray | None:
        """Of fitted pictures."""
        if self.job.mask is None:
            return None
        levels = self.job.mask.astype(np.uint8)[..., None] * np.uint8(255)
        return resized(levels, self.prior.image_shape[:2])[..., 0] >= 128

    def _restored(self, result: EditResult, i: int, size: tuple[int, ...]) -> Restored:
        """The i-th of a result's images, of which a picture [H, W] takes the beginning; the rest of a canvas is 0."""
        info, image = result.info, result.images[i]
        of_latents = info.clipped_pixels[i].size / math.prod(-(-side // self.factor) for side in size)
        squared = float(info.squared_score[i])
        facts: dict[str, Any] = {"nfe": int(info.nfe[i]), "clipped": float(info.clipped[i]) * of_latents}
        facts["squared_score"] = None if np.isnan(squared) else squared * of_latents
        if self.prior.codec is not None:
            facts["psnr_codec"] = psnr_of_codec(float(info.codec_error[i]) * math.prod(image.shape[:2]) / math.prod(size))
        return Restored(taken(image, size), bool(info.finite[i]), facts)
