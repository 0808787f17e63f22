"""An order on its way: moment after moment, level after level where the picture has several, in segments that are short."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from code_jax.demo.order import Order
from code_jax.diffusion.codec import decoded
from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.projections import Composite
from code_jax.editing.edit import number_of_moves, per_image, route_of, segments
from code_jax.editing.masks import region_of
from code_jax.editing.pyramid import Size, settings_at
from code_jax.editing.result import EditResult, finish
from code_jax.editing.route import State
from code_jax.editing.settings import Settings
from code_jax.pictures.arrays import from_uint8, to_uint8
from code_jax.pictures.fits import OWN_SIZE
from code_jax.runs.canvas import Placed, canvas_side, place, pyramid_of, sizes_of, taken, windows_of

_FRAMES = 4  # latents shown of each stage
_TURN = 0.3  # seconds that a segment is meant to take
_MOST_PROGRAMS = 16  # kept compiled
_programs: set[Any] = set()


class Moment(NamedTuple):
    """Where an order is.

    Attributes:
        state: of the level's edit.
        denoiser, region: what it is an edit with, and of where.
        level, size: which one, from the coarsest on, and its (H, W).
        sigma: the noise level.
        stage: of the last move, where it is to be looked at: "encoding", "correction" or "decoding".
        done: evaluations of the network so far, each of one window, of all levels.
        before: evaluations that the levels below took, as `code_jax.editing.result.EditInfo` counts them.
    """

    state: State
    denoiser: Denoiser
    region: Composite | None
    level: int
    size: Size
    sigma: float
    stage: str | None
    done: int
    before: int

    def picture(self, order: Order) -> np.ndarray:
        """The latent as x_t, uint8 [H, W, C]."""
        latent = self.state.z / np.float32(np.sqrt(1 + self.sigma**2))
        return shown(decoded(self.denoiser, latent), self.size, order)


def moments(order: Order, *, look: bool = False) -> Iterator[Moment]:
    """An order at the start of each of its levels, at their ends, at the end of every turn, and where it is to be looked at."""
    prior, sizes, below = order.offer.prior, levels_of(order), None
    own = pyramid_of(order.pixels, order.job.mask, prior.image_shape, order.job.fit) if order.job.fit in OWN_SIZE else None
    done = before = 0
    for level, size in enumerate(sizes):
        settings, keys = settings_at(level, order.config, prior), order.key
        placed = Placed(prior, from_uint8(order.pixels[None]), order.job.mask)
        if own is not None:
            share, keys = None if own.shares is None else own.shares[level], own.keys(level, keys)
            placed = place(prior, own.start(level, below), share, order.job.micro_batch)
        denoiser, region = placed.denoiser, region_of(settings, placed.mask, placed.images)
        sigmas, stages, evaluations = itinerary(prior, settings)
        windows, looks = windows_of(size, prior.image_shape), set(frames(stages).tolist()) if look else set()
        for made, state in _turns(order, keys, placed, settings, evaluations * windows, looks):
            stage = stages[max(made - 1, 0)] if made in looks else None
            spent = done + int(evaluations[made]) * windows
            yield Moment(state, denoiser, region, level, size, float(sigmas[made]), stage, spent, before)
        done, before = done + int(evaluations[-1]) * windows, before + int(evaluations[-1])
        below = taken(np.asarray(finish(state, denoiser, region).images)[0], size) if level + 1 < len(sizes) else None


def result_of(order: Order, moment: Moment) -> tuple[np.ndarray, EditResult]:
    """The pixels uint8 [H, W, C] of an order's last moment, and the result with the facts of all its levels."""
    result = finish(moment.state, moment.denoiser, moment.region)
    spread = result.images[0].size / order.pixels.size  # a canvas is partly empty
    facts = {"clipped": result.info.clipped * spread, "squared_score": result.info.squared_score * spread}
    info = result.info._replace(**facts, nfe=result.info.nfe + moment.before)
    return shown(result.images, moment.size, order), EditResult(result.images, info)


def shown(images: Any, size: Size, order: Order) -> np.ndarray:
    """The picture uint8 [H, W, C] of images [1, H, W, C], or of a canvas, of a level's size; a small one as it came."""
    values = taken(np.asarray(images)[0], size)
    return to_uint8(values[: order.size[0], : order.size[1]])


def levels_of(order: Order) -> list[Size]:
    """(H, W) of each level of an order's picture, coarsest first."""
    height, width, _ = order.pixels.shape
    return sizes_of((height, width), order.offer.prior.image_shape, order.job.fit)


def cost_of(order: Order) -> tuple[int, int]:
    """Evaluations of a level by `number_of_moves`, and windows of all levels together: their product is what a sample costs."""
    shape = order.offer.prior.image_shape
    return number_of_moves(order.offer.prior, order.config)[1], sum(windows_of(size, shape) for size in levels_of(order))


def programs_to_prepare(order: Order) -> int:
    """How many programs an order needs that are not there yet."""
    prior, needed = order.offer.prior, set()
    for level, size in enumerate(levels_of(order)):
        side = canvas_side(size, prior.image_shape)
        shape = (side, side) if order.job.fit in OWN_SIZE else order.pixels.shape[:2]
        needed.add(_program(order, settings_at(level, order.config, prior), shape))
    return len(needed - _programs)


def itinerary(denoiser: Denoiser, config: Settings) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Of a route of K moves: σ before each and after the last [K + 1], each move's stage, and evaluations so far [K + 1].

    A stage is "encoding", "correction" or "decoding".
    """
    route = route_of(denoiser, per_image(config, denoiser, 1))
    before, after = np.asarray(route.sigma)[0], np.asarray(route.sigma_next)[0]
    stages = np.where(after > before, "encoding", np.where(after == before, "correction", "decoding"))
    return np.append(before, after[-1]), stages.tolist(), np.append(0, np.cumsum(route.cost(denoiser)))


def frames(stages: Sequence[str]) -> np.ndarray:
    """Numbers of moves at which to look: the start, and up to `_FRAMES` even shares of each stage, its end included."""
    bounds, first = [0], 0
    for _, stage in itertools.groupby(stages):
        last = first + len(list(stage))
        bounds += np.linspace(first, last, _FRAMES + 1).astype(int).tolist()
        first = last
    return np.unique(bounds)


def _turns(
    order: Order, keys: jax.Array, placed: Placed, settings: Settings, work: np.ndarray, looks: set[int]
) -> Iterator[tuple[int, State]]:
    """(moves made, state) of an edit at the start, at each of the `looks`, at the end, and at the end of every turn.

    work: evaluations of the network by the moves made, [K + 1].
    """
    pace, label, program = order.offer.pace, order.job.label, _program(order, settings, placed.images.shape[1:3])
    new = program not in _programs
    _bound_programs(program)
    stops = sorted({0, len(work) - 1, *looks})
    made, size = 0, 1

    def bounds() -> Iterator[int]:
        nonlocal made
        yield 0
        for stop in stops[1:]:
            while made < stop:
                made = min(made + size, stop)
                yield made

    before, began, preparing = 0, time.monotonic(), 0.0
    edit = segments(keys, placed.denoiser, placed.images, settings, bounds(), placed.mask, label)
    for state in edit:
        jax.block_until_ready(state)
        took = time.monotonic() - began
        if before:  # what is before is compiled
            pace.note(float(work[made] - work[before]), took)
            size = max(size * 2 if took < _TURN / 2 else size // 2 if took > _TURN else size, 1)
        elif new:
            preparing += took
            pace.preparing = preparing
        before = made
        yield made, state
        began = time.monotonic()


def _program(order: Order, settings: Settings, shape: tuple[int, ...]) -> Any:
    """What is compiled for a level of an order, at (H, W) of what is edited, by what it depends on."""
    parts = jax.tree.structure((settings, order.job.label))
    return order.offer.name, parts, order.job.fit in OWN_SIZE, shape, order.job.mask is None


def _bound_programs(program: Any) -> None:
    """Forgets what was compiled, where this would be one too many."""
    if program not in _programs and len(_programs) >= _MOST_PROGRAMS:
        _programs.clear()
        jax.clear_caches()
    _programs.add(program)
