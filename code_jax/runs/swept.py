"""Files at every point of a grid of settings: those of the prior's size in one sweep, each at its own size by itself."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from code_jax.editing.edit import number_of_moves, run_in_segments
from code_jax.editing.keys import fold_keys, image_key
from code_jax.editing.points import SweepGrid, SweepPoint
from code_jax.editing.pyramid import Pyramid, settings_at
from code_jax.editing.result import EditInfo
from code_jax.editing.settings import Settings
from code_jax.editing.sweep import SweepResult, sweep
from code_jax.pictures.arrays import to_uint8
from code_jax.pictures.fits import OWN_SIZE
from code_jax.pictures.fitting import as_floats, eight_bits
from code_jax.priors.prior import Prior
from code_jax.progress import Progress
from code_jax.runs.canvas import place, pyramid_of, taken
from code_jax.runs.micro_batch import default_micro_batch
from code_jax.runs.sweep_report import Swept
from code_jax.runs.tasks import Work

_PARTS = 1000  # of a group's work that progress is counted in


@dataclasses.dataclass
class Sweeper:
    """What is done of works at every point.

    Attributes:
        prior: on no device in particular.
        settings: canonical; what is no axis of the grid is theirs.
        grid: the points.
        seed: of the first of the grid's seeds.
        micro_batch: inputs of the network on a device at a time; None until a sweep has chosen.
        label: of every work, of a prior with classes.
        evaluations: made so far, each image's own.
    """

    prior: Prior
    settings: Settings
    grid: SweepGrid
    seed: int
    micro_batch: int | None
    label: int | None = None
    evaluations: int = 0

    def run(self, works: Sequence[Work], cleans: Sequence[np.ndarray | None]) -> list[Swept]:
        """What becomes of the works, in their order; cleans are their clean sources, as the prior sees them."""
        fitted = [i for i, work in enumerate(works) if work.fit not in OWN_SIZE]
        groups = [fitted] * bool(fitted) + [[i] for i, work in enumerate(works) if work.fit in OWN_SIZE]
        progress = Progress(_PARTS * len(groups))
        made: dict[int, tuple[np.ndarray, EditInfo]] = {}
        for group in groups:
            after = _advancing(progress)
            one = works[group[0]]
            found = self._at_own_size(one, after) if one.fit in OWN_SIZE else self._fitted([works[i] for i in group], after)
            made |= dict(zip(group, found, strict=True))
        return [_swept(work, clean, *made[i]) for i, (work, clean) in enumerate(zip(works, cleans, strict=True))]

    def _keys(self, works: Sequence[Work]) -> jax.Array:
        """Keys [seeds, B], as restoring has them."""
        words = [[image_key(self.seed + seed, work.digest, 0) for work in works] for seed in range(self.grid.seeds)]
        return jnp.stack([fold_keys(np.stack(row)) for row in words])

    def _fitted(self, works: Sequence[Work], after: Callable[[float], None]) -> list[tuple[np.ndarray, EditInfo]]:
        images = jnp.asarray(np.stack([as_floats(work.pixels, self.prior.image_shape[2]) for work in works]))
        result = self._sweep(self._keys(works), self.prior, images, self.micro_batch, after)
        self.micro_batch = result.micro_batch
        return [(result.images[:, i], _one(result.info, i)) for i in range(len(works))]

    def _at_own_size(self, work: Work, after: Callable[[float], None]) -> list[tuple[np.ndarray, EditInfo]]:
        """The coarsest level at all points together, and from there on point by point."""
        self.micro_batch = self.micro_batch or default_micro_batch()
        pyramid = pyramid_of(work.pixels, None, self.prior.image_shape, work.fit)
        shares = np.cumsum([np.prod(size) for size in pyramid.sizes]) / np.sum([np.prod(size) for size in pyramid.sizes])
        keys = self._keys([work])
        placed = place(self.prior, pyramid.start(0, None), None, self.micro_batch)
        own = jnp.stack([pyramid.keys(0, row) for row in keys])
        result = self._sweep(own, placed.denoiser, placed.images, 1, lambda share: after(share * shares[0]))
        images, info = taken(result.images[:, 0], pyramid.sizes[0]), _one(result.info, 0)
        points = self.grid.points()
        for level in range(1, len(pyramid.sizes)):
            made = []
            for p, point in enumerate(points):
                made.append(self._finer(pyramid, level, images[p], point, keys[point.seed]))
                after(shares[level - 1] + (shares[level] - shares[level - 1]) * (p + 1) / len(points))
            images, evaluations = np.stack([image for image, _ in made]), info.nfe
            info = jax.tree.map(lambda *leaves: np.stack(leaves), *[each for _, each in made])
            self.evaluations += int(info.nfe.sum())
            info = info._replace(nfe=info.nfe + evaluations)
        return [(images, info)]

    def _finer(
        self, pyramid: Pyramid, level: int, below: np.ndarray, point: SweepPoint, key: jax.Array
    ) -> tuple[np.ndarray, EditInfo]:
        """A level's image [H, W, C] and facts at a point, from the image of the level below."""
        placed = place(self.prior, pyramid.start(level, below), None, self.micro_batch or 1)
        settings = settings_at(level, point.of(self.settings), self.prior)
        bounds, keys = np.array([0, number_of_moves(self.prior, settings)[0]]), pyramid.keys(level, key)
        told = lambda moves: None  # noqa: E731
        result = run_in_segments(keys, placed.denoiser, placed.images, settings, bounds, told, condition=self.label)
        result = jax.device_get(result)
        return taken(result.images[0], pyramid.sizes[level]), jax.tree.map(operator.itemgetter(0), result.info)

    def _sweep(
        self, keys: jax.Array, denoiser: Any, images: jax.Array, micro_batch: int | None, after: Callable[[float], None]
    ) -> SweepResult:
        done = 0

        def told(more: int, total: int) -> None:
            nonlocal done
            done += more
            after(done / total)

        own: dict[str, Any] = {"condition": self.label, "micro_batch": micro_batch, "after": told}
        result = sweep(keys, denoiser, images, self.grid, self.settings, **own)
        self.evaluations += result.evaluations
        return result


def _advancing(progress: Progress) -> Callable[[float], None]:
    """What is called with the share of a group's work that is done."""
    done = 0

    def after(share: float) -> None:
        nonlocal done
        parts = round(share * _PARTS)
        if parts > done:
            progress.advance(parts - done)
            done = parts

    return after


def _one(info: EditInfo, i: int) -> EditInfo:
    """Facts [P] of the i-th image."""
    picked: EditInfo = jax.tree.map(operator.itemgetter((slice(None), i)), info)
    return picked


def _swept(work: Work, clean: np.ndarray | None, images: np.ndarray, info: EditInfo) -> Swept:
    made = to_uint8(taken(images, work.pixels.shape[:2]))
    seen = eight_bits(work.pixels, images.shape[-1])
    return Swept(work.source.path, work.source.name, seen, work.digest, clean, made, info)
