"""Batches through compiled programs: one for all pictures that are fitted, one for each canvas of those that are tiled."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from code_jax.batch.fitting import eight_bits
from code_jax.batch.job import Job, fold_keys, image_key
from code_jax.batch.work import Work
from code_jax.diffusion.tiling import tiled
from code_jax.editing.config import EditConfig
from code_jax.editing.devices import local_devices, sharding
from code_jax.editing.edit import EditResult, number_of_moves, run_in_segments
from code_jax.images import from_uint8
from code_jax.priors.prior import Prior

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
    config: EditConfig
    job: Job

    @classmethod
    def on_devices(cls, prior: Prior, config: EditConfig, job: Job) -> Engine:
        """An engine that has the prior on each of the devices."""
        return cls(jax.device_put(prior, sharding(local_devices(job.devices))), config, job)

    @property
    def batch(self) -> int:
        """Pictures at a time: with fit "tile" one, whose windows then are the batch."""
        return 1 if self.job.fit == "tile" else self.in_flight

    @property
    def in_flight(self) -> int:
        """Inputs of the network at a time."""
        return self.job.micro_batch * len(self.devices)

    @property
    def devices(self) -> list[jax.Device]:
        """The devices of the run."""
        return local_devices(self.job.devices)

    @property
    def moves(self) -> int:
        """Moves of a picture's route."""
        return number_of_moves(self.config)[0]

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
        images, finite = np.asarray(result.images), np.asarray(result.info.finite)
        clipped, squared = np.asarray(result.info.clipped), np.asarray(result.info.squared_score)
        restored = []
        for i, item in enumerate(group):
            height, width = item.pixels.shape[:2]
            spread = images[i].shape[0] * images[i].shape[1] / (height * width)  # over an empty canvas, where both are 0
            facts = {"nfe": result.info.nfe, "clipped": float(clipped[i] * spread)}
            facts["squared_score"] = None if np.isnan(squared[i]) else float(squared[i] * spread)
            restored.append(Restored(images[i, :height, :width], bool(finite[i]), facts))
        return restored

    def _fitted(self, group: list[Work], words: np.ndarray, bounds: np.ndarray, after: Callable[[int], None]) -> EditResult:
        images = self._placed([item.pixels for item in group], (self.batch, *self.prior.image_shape))
        keys, images = jax.device_put((fold_keys(words), images), sharding(self.devices, "batch"))
        return run_in_segments(keys, self.prior, images, self.config, bounds, after, self.job.mask)

    def _tiled(self, item: Work, words: np.ndarray, bounds: np.ndarray, after: Callable[[int], None]) -> EditResult:
        side = canvas_side(item.pixels.shape[:2], self.prior.image_shape)
        size = item.pixels.shape[0], item.pixels.shape[1]
        denoiser: Any = tiled(self.prior, size, canvas=side, chunk=self.in_flight, sharding=sharding(self.devices, "batch"))
        images = self._placed([item.pixels], (1, side, side, self.prior.image_shape[2]))
        keys, images, denoiser = jax.device_put((fold_keys(words), images, denoiser), sharding(self.devices))
        return run_in_segments(keys, denoiser, images, self.config, bounds, after)

    def _placed(self, pictures: list[np.ndarray], shape: tuple[int, ...]) -> Any:
        """Pictures at the top left of gray images of one shape [B, H, W, C], as floats in [−1, 1]."""
        canvas = np.full(shape, 128, np.uint8)
        for picture, place in zip(pictures, canvas, strict=False):
            place[: picture.shape[0], : picture.shape[1]] = eight_bits(picture, shape[3])
        images = np.array(from_uint8(canvas))
        for picture, image in zip(pictures, images, strict=False):
            if picture.dtype == np.uint16:
                image[: picture.shape[0], : picture.shape[1]] = picture / np.float32(32767.5) - 1
        return images


def canvas_side(size: tuple[int, ...], image_shape: tuple[int, ...]) -> int:
    """The side of the square that a tiled picture is placed on: the prior's times a power of two, so that few sizes compile.

    Example:
        >>> canvas_side((500, 333), (64, 64, 3))
        512
    """
    side = max(image_shape[:2])
    while side < max(size[:2]):
        side *= 2
    return side
