"""Batches through compiled programs: one for all pictures that are fitted, one for each canvas of those that are tiled."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from code_jax.devices.mesh import devices_for, sharding
from code_jax.diffusion.codec import latent_shape
from code_jax.diffusion.tiling import tiled
from code_jax.editing.edit import number_of_moves, run_in_segments
from code_jax.editing.keys import fold_keys, image_key
from code_jax.editing.result import EditResult
from code_jax.editing.settings import Settings
from code_jax.pictures.fitting import as_floats
from code_jax.priors.prior import Prior
from code_jax.runs.canvas import canvas_side, laid, laid_mask, taken
from code_jax.runs.job import Job
from code_jax.runs.result import psnr_of_codec
from code_jax.runs.tasks import Work

_SEGMENTS = 10


class Restored(NamedTuple):
    """A work's result: floats [H, W, C] in [−1, 1] as the prior saw the picture, whether finite, and facts for the manifest."""

    image: np.ndarray
    finite: bool
    facts: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Engine:
    """A prior on the devices of a run, with its settings."""

    prior: Prior
    config: Settings
    job: Job
    devices: Sequence[jax.Device]

    @classmethod
    def on_devices(cls, prior: Prior, config: Settings, job: Job, results: int) -> Engine:
        """An engine that has the prior on each of the job's devices, or on as many as so many results occupy."""
        batches = jax.local_device_count() if job.fit == "tile" else -(-results // job.micro_batch)
        devices = devices_for(prior, batches, job.devices)
        return cls(jax.device_put(prior, sharding(devices)), config, job, devices)

    @property
    def batch(self) -> int:
        """Pictures at a time: with fit "tile" one, whose windows then are the batch."""
        return 1 if self.job.fit == "tile" else self.in_flight

    @property
    def in_flight(self) -> int:
        """Inputs of the network at a time."""
        return self.job.micro_batch * len(self.devices)

    @functools.cached_property
    def moves(self) -> int:
        """Moves of a picture's route."""
        return number_of_moves(self.prior, self.config)[0]

    @property
    def factor(self) -> int:
        """Pixels along one of what the prior's z is of."""
        return int(self.prior.image_shape[0] // latent_shape(self.prior)[0])

    def groups(self, works: Iterable[Work]) -> Iterator[list[Work]]:
        """The works in batches."""
        remaining = iter(works)
        while group := list(itertools.islice(remaining, self.batch)):
            yield group

    def restore(self, group: list[Work], after: Callable[[int], None]) -> list[Restored]:
        """Restores up to `batch` works; `after(k)` is called with the moves made, now and then."""
        words = [image_key(self.job.seed, item.digest, item.sample) for item in group]
        words += [np.zeros(6, np.uint32)] * (self.batch - len(group))
        bounds = np.unique(np.linspace(0, self.moves, _SEGMENTS + 1).astype(int))
        if self.job.fit == "tile":
            result = self._tiled(group[0], np.stack(words), bounds, after)
        else:
            result = self._fitted(group, np.stack(words), bounds, after)
        images, info = np.asarray(result.images), jax.tree.map(np.asarray, result.info)
        restored = []
        for i, item in enumerate(group):
            size = item.pixels.shape[:2]
            # Over an empty canvas, where all is 0.
            spread = math.prod(images[i].shape[:2]) / math.prod(size)
            of_latents = info.clipped_pixels[i].size / math.prod(-(-side // self.factor) for side in size)
            facts: dict[str, Any] = {"nfe": int(info.nfe[i]), "clipped": float(info.clipped[i] * of_latents)}
            squared = info.squared_score[i]
            facts["squared_score"] = None if np.isnan(squared) else float(squared * of_latents)
            if self.prior.codec is not None:
                facts["psnr_codec"] = psnr_of_codec(info.codec_error[i] * spread)
            restored.append(Restored(taken(images[i], size), bool(info.finite[i]), facts))
        return restored

    def _fitted(self, group: list[Work], words: np.ndarray, bounds: np.ndarray, after: Callable[[int], None]) -> EditResult:
        images = np.zeros((self.batch, *self.prior.image_shape), np.float32)
        for item, image in zip(group, images, strict=False):
            image[:] = as_floats(item.pixels, image.shape[2])
        keys, images = jax.device_put((fold_keys(words), images), sharding(self.devices, "batch"))
        return run_in_segments(keys, self.prior, images, self.config, bounds, after, self.job.mask, self.job.label)

    def _tiled(self, item: Work, words: np.ndarray, bounds: np.ndarray, after: Callable[[int], None]) -> EditResult:
        (height, width), channels = item.pixels.shape[:2], self.prior.image_shape[2]
        side = canvas_side((height, width), self.prior.image_shape)
        shared = sharding(self.devices, "batch")
        denoiser: Any = tiled(self.prior, (height, width), canvas=side, chunk=self.in_flight, sharding=shared)
        placed = fold_keys(words), laid(item.pixels, side, channels), denoiser
        keys, images, denoiser = jax.device_put(placed, sharding(self.devices))
        mask = None if self.job.mask is None else laid_mask(self.job.mask, (height, width), side, self.prior.image_shape[0])
        return run_in_segments(keys, denoiser, images, self.config, bounds, after, mask, self.job.label)


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
