"""A sweep: every point of a grid of settings, through one compiled program, sharing the encodings that points have in common.

The program is an edit's own (`code_jax.editing.edit.advance`), in which every image follows numbers of its own: a point's images
have the bytes of `edit` at the same number of images on a device. Work comes in chunks of one size, sharded over the devices.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import warnings
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from code_jax.devices.memory import out_of_memory
from code_jax.devices.mesh import devices_for, sharding
from code_jax.diffusion.schedule import NoiseSchedule
from code_jax.editing.config import EditConfig, canonical, preset
from code_jax.editing.edit import EditInfo, advance, begin, check_images, finish, image_keys, moves_up, route_of
from code_jax.errors import UserError
from code_jax.priors.prior import Prior

MAX_RESULTS = 10_000  # points × images: what a table can still show and a host's memory hold
_MOST_ON_CPU, _MOST = 8, 64  # images on a device at a time, beyond which none gains


class SweepPoint(NamedTuple):
    """One point's settings, of those that `SweepGrid` spans.

    Attributes:
        depth: noise level in (0, 1].
        step_size: the absolute h.
        eta: infinite where nothing is clipped.
        anneal_rate: γ.
        seed: which of the grid's seeds, from 0 on.
    """

    depth: float
    step_size: float
    eta: float
    anneal_rate: float
    seed: int


@dataclasses.dataclass(frozen=True)
class SweepGrid:
    """Values of each axis; an axis left empty keeps the config's value.

    Attributes:
        step_size: Langevin steps h > 0.
        relative_step: the same as h/(1 − ᾱ), at every depth. With neither, the config's h/(1 − ᾱ) is kept.
        depth: noise levels in (0, 1].
        eta: η > 0 of confidence-based clipping; None is off.
        anneal_rate: γ in (0, 1].
        seeds: how many keys each setting gets.

    Example:
        >>> SweepGrid(step_size=(1e-4, 1e-3), depth=(0.2, 0.4), seeds=3).size
        12
    """

    step_size: Sequence[float] = ()
    relative_step: Sequence[float] = ()
    depth: Sequence[float] = ()
    eta: Sequence[float | None] = ()
    anneal_rate: Sequence[float] = ()
    seeds: int = 1

    def __post_init__(self) -> None:
        for name in ("step_size", "relative_step", "depth", "eta", "anneal_rate"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.step_size and self.relative_step:
            raise UserError("a grid has step_size and relative_step; give one of them")

    @property
    def size(self) -> int:
        """Number of points."""
        axes = (self.step_size or self.relative_step, self.depth, self.eta, self.anneal_rate)
        return math.prod(max(len(axis), 1) for axis in axes) * self.seeds

    def points(self, config: EditConfig, schedule: NoiseSchedule) -> list[SweepPoint]:
        """The points, in the order depth, η, annealing rate, step size, seed; the last changes fastest.

        Raises:
            UserError: if there are none or too many, a value lies out of its range, or the config corrects several depths.
        """
        if isinstance(self.seeds, bool) or not isinstance(self.seeds, int) or self.seeds < 1:
            raise UserError(f"seeds is {self.seeds!r}; it must be a whole number of at least 1")
        if self.size > MAX_RESULTS:
            raise UserError(f"the grid has {self.size} points; a sweep takes at most {MAX_RESULTS}, so give fewer values")
        if np.size(config.depth) != 1 or np.size(config.step_size) != 1:
            raise UserError(f"depth is {np.asarray(config.depth).tolist()}; a point of a sweep corrects one depth")
        for name in ("step_size", "relative_step", "depth", "eta", "anneal_rate"):
            for value in getattr(self, name):
                canonical(config.replace(**{"step_size" if name == "relative_step" else name: value}))
        variance = lambda depth: float(schedule.variance(schedule.timestep(depth)))  # noqa: E731
        own_depth, own_step, own_rate = map(_shortest, (config.depth, config.step_size, config.anneal_rate))
        relative = self.relative_step or (own_step / variance(own_depth),)
        given = self.step_size or (() if self.depth or self.relative_step else (own_step,))
        steps = {
            depth: given or [float(f"{step * variance(depth):.6g}") for step in relative] for depth in self.depth or (own_depth,)
        }
        return [
            SweepPoint(float(depth), float(step), math.inf if eta is None else _shortest(eta), float(rate), seed)
            for depth in steps
            for eta in self.eta or (config.eta,)
            for rate in self.anneal_rate or (own_rate,)
            for step in steps[depth]
            for seed in range(self.seeds)
        ]


class SweepResult(NamedTuple):
    """What a `sweep` gives.

    Attributes:
        points: the P points, in the grid's order.
        images: [P, B, H, W, C] float32 in [−1, 1], on the host.
        info: an `EditInfo` with arrays [P, B, ...]; `nfe` is that of one point by itself.
        evaluations: network evaluations of one image made in all: shared encodings count once.
        micro_batch: images on each device at a time: there `edit` gives a point's bytes.
    """

    points: tuple[SweepPoint, ...]
    images: np.ndarray
    info: EditInfo
    evaluations: int
    micro_batch: int


def sweep(
    key: jax.Array, prior: Prior, images: jax.Array, grid: SweepGrid, config: EditConfig | None = None, *,
    micro_batch: int | None = None, after: Callable[[int, int], None] | None = None,
) -> SweepResult:  # fmt: skip
    """Edits the images at every point of a grid: one compiled program, with the encodings shared.

    Points of the same depth and η have the same way up (and of the same seed, where `input_noise` is given to the input); it is
    made once for them. A point gives what `edit` gives with its numbers and its seed's keys.

    Args:
        key: a typed PRNG key [], from which image i of seed s takes ``fold_in(fold_in(key, s), i)``; or keys [seeds, B].
        prior: what an image should look like.
        images: [B, H, W, C] floating, in [−1, 1].
        grid: a `SweepGrid`.
        config: everything else; None is the default preset.
        micro_batch: images on each device at a time, which bounds the memory; None takes that of 1 to 8 which costs least, of 1
            to 64 on an accelerator, and fewer where memory does not suffice, with a warning.
        after: called with 0 before the first chunk, then after each with the evaluations of an image in it; and those in all
            (padding included).

    Returns:
        A `SweepResult`.

    Raises:
        UserError: names the axis, value or size that cannot be, before anything is computed; or memory does not suffice.

    Example:
        >>> import code_jax, jax, jax.numpy as jnp
        >>> schedule = code_jax.linear_schedule()
        >>> eps = lambda params, x, t: x * jnp.sqrt(schedule.variance(t))[:, None, None, None]
        >>> prior = code_jax.Prior.from_function(eps, (), schedule, (8, 8, 3))
        >>> grid = code_jax.SweepGrid(step_size=(1e-3, 1e-2), depth=(0.2, 0.4, 0.6))
        >>> result = code_jax.sweep(jax.random.key(0), prior, jnp.zeros((2, 8, 8, 3)), grid)
        >>> result.images.shape, result.info.nfe, result.evaluations  # 12 results, 6 encodings
        ((6, 2, 8, 8, 3), 24, 228)
    """
    config = preset("default", prior.schedule) if config is None else config
    images, points = check_images(prior, images), grid.points(config, prior.schedule)
    if not 1 <= len(points) * len(images) <= MAX_RESULTS:
        raise UserError(f"{len(points)} points of {len(images)} images; a sweep makes 1 to {MAX_RESULTS} results")
    plan = _plan(_seed_keys(key, images, grid.seeds), prior, images, config, points)
    devices = devices_for(prior, -(-len(plan.encoding) // (1 if micro_batch is None else _checked(micro_batch))))
    most = _MOST_ON_CPU if devices[0].platform == "cpu" else _MOST
    prior = jax.device_put(prior, sharding(devices))
    while True:
        micro = micro_batch or min(range(most, 0, -1), key=functools.partial(plan.seconds, devices=len(devices)))
        try:
            restored = plan.run(prior, micro, devices, after or (lambda done, total: None))
            break
        except jax.errors.JaxRuntimeError as error:
            if not out_of_memory(error):
                raise
            if micro_batch is not None or micro == 1:
                raise UserError(f"out of memory with {micro} images on a device at a time: give fewer, or free some") from error
            most = micro // 2
            warnings.warn(f"out of memory with {micro} images on a device at a time; again with {most} at most", stacklevel=2)
    pictures, facts = jax.tree.map(lambda leaf: leaf.reshape(len(points), len(images), *leaf.shape[1:]), restored)
    evaluations = plan.up * len(plan.first) + plan.down * len(plan.encoding)
    return SweepResult(tuple(points), pictures, EditInfo(plan.up + plan.down, *facts), evaluations, micro)


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What a sweep computes, a row for each image at each point.

    Attributes:
        keys: of the rows, [R].
        images: of the rows, [R, H, W, C].
        config: with each row's numbers, [R, ...].
        first: the rows that are encoded, for themselves and for others, [E].
        encoding: which of those a row begins with, [R].
        moves: of the way up, and of the whole route.
        up, down: evaluations of the way up, and of the rest.
    """

    keys: jax.Array
    images: np.ndarray
    config: EditConfig
    first: np.ndarray
    encoding: np.ndarray
    moves: tuple[int, int]
    up: int
    down: int

    def evaluations(self, chunk: int) -> int:
        """Of an image in all, in chunks of so many rows, padding included."""
        return self.up * _padded(len(self.first), chunk) + self.down * _padded(len(self.encoding), chunk)

    def seconds(self, micro: int, devices: int) -> float:
        """What a micro-batch costs, in arbitrary units.

        By itself an image costs a fifth more than among many: the bundled network takes 9.7 ms + 1.8 ms/micro on a core.
        """
        return self.evaluations(micro * devices) * (1 + 0.2 / micro)

    def run(self, prior: Prior, micro: int, devices: Sequence[jax.Device], after: Callable[[int, int], None]) -> Any:
        """Images and facts of all rows, on the host."""
        chunk, spread = micro * len(devices), sharding(devices, "batch")
        total, (top, end) = self.evaluations(chunk), map(jnp.int32, self.moves)
        one = jax.tree.map(lambda leaf: leaf[0], self.config)

        def operands(rows: np.ndarray) -> Any:
            return jax.device_put((self.keys[rows], jax.tree.map(lambda leaf: leaf[rows], self.config)), spread)

        def encode(rows: np.ndarray) -> Any:
            keys, config = operands(self.first[rows])
            travel = begin(keys, prior, jax.device_put(self.images[self.first[rows]], spread), config)
            travel = jax.device_put(travel, spread)  # as in `segments`
            travel = jax.device_get(advance(keys, prior, travel, config, jnp.int32(0), top))
            after(self.up * chunk, total)
            return travel

        def complete(rows: np.ndarray) -> Any:
            keys, config = operands(rows)
            travel = jax.device_put(jax.tree.map(lambda leaf: leaf[self.encoding[rows]], encoded), spread)
            result = finish(advance(keys, prior, travel, config, top, end), one)
            restored = jax.device_get((result.images, result.info[1:]))
            after(self.down * chunk, total)
            return restored

        after(0, total)
        encoded = _in_chunks(len(self.first), chunk, encode)
        return _in_chunks(len(self.encoding), chunk, complete)


def _plan(keys: jax.Array, prior: Prior, images: jax.Array, config: EditConfig, points: Sequence[SweepPoint]) -> _Plan:
    """Rows in the order of the points, then of the images; keys: [seeds, B]."""
    which, image = (axis.ravel() for axis in np.indices((len(points), len(images))))
    seeds = np.array([point.seed for point in points])[which]
    numbers = jax.tree.map(lambda value: np.asarray(value)[which], at_points(config, points))
    first, encoding = _shared([(_way_up(config, points[p]), i) for p, i in zip(which.tolist(), image.tolist(), strict=True)])
    cost, moves = jax.eval_shape(lambda: route_of(prior.schedule, canonical(config))).cost(), moves_up(config.program)
    up, down = int(cost[:moves].sum()), int(cost[moves:].sum())
    return _Plan(keys[seeds, image], np.asarray(images)[image], numbers, first, encoding, (moves, len(cost)), up, down)


def at_points(config: EditConfig, points: Sequence[SweepPoint]) -> EditConfig:
    """The canonical config with each point's numbers, [P, ...].

    A depth and a step size are [P, 1], so that the program is that of ``code-jax restore --depth D --step-size H``.
    """
    depth, step_size, eta, anneal_rate, _ = np.array(points, float).T
    same = canonical(config.replace(depth=0.5, step_size=1.0, eta=1.0))
    same = jax.tree.map(lambda value: np.broadcast_to(value, (len(points), *value.shape)), same)
    own = canonical(EditConfig(depth[:, None], step_size[:, None], eta, anneal_rate))
    return same.replace(depth=own.depth, step_size=own.step_size, eta=own.eta, anneal_rate=own.anneal_rate)


def _shortest(value: Any) -> float:
    """A number with the fewest digits that give it back in its own precision."""
    return float(str(np.asarray(value).ravel()[0]))


def _way_up(config: EditConfig, point: SweepPoint) -> Hashable:
    """What a point's latent before the first correction depends on, beside the image."""
    noisy = config.program.method == "sdedit" or bool(np.any(np.asarray(config.input_noise) > 0))
    return point.depth, point.eta, point.seed if noisy else None


def _shared(labels: Sequence[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each distinct label, and for every row which of those is its own."""
    firsts: dict[Hashable, int] = {}
    for row, label in enumerate(labels):
        firsts.setdefault(label, row)
    order = {label: k for k, label in enumerate(firsts)}
    return np.array(list(firsts.values())), np.array([order[label] for label in labels])


def _seed_keys(key: jax.Array, images: jax.Array, seeds: int) -> jax.Array:
    """Keys [seeds, B]: the given ones, or folded from a scalar key."""
    if getattr(key, "ndim", 0) != 2:
        return jnp.stack([image_keys(jax.random.fold_in(_scalar(key), seed), images) for seed in range(seeds)])
    if key.shape != (seeds, len(images)):
        raise UserError(f"keys of shape {key.shape} for {seeds} seeds and {len(images)} images; give [seeds, images], or one")
    return jnp.stack([image_keys(row, images) for row in key])


def _scalar(key: jax.Array) -> jax.Array:
    if getattr(key, "shape", None) != () or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise UserError("key is not one typed PRNG key; make it with jax.random.key(seed), or give keys [seeds, images]")
    return key


def _in_chunks(count: int, chunk: int, run: Callable[[np.ndarray], Any]) -> Any:
    """Arrays of `run` on rows 0..count − 1 in chunks of one size, the last padded with its last row and cut again."""
    rows = np.minimum(np.arange(_padded(count, chunk)), count - 1)
    parts = [run(part) for part in rows.reshape(-1, chunk)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts)


def _padded(count: int, chunk: int) -> int:
    return -(-count // chunk) * chunk


def _checked(micro_batch: int) -> int:
    if isinstance(micro_batch, bool) or not isinstance(micro_batch, int) or not 1 <= micro_batch <= MAX_RESULTS:
        raise UserError(f"micro_batch is {micro_batch!r}; it must be a whole number from 1 to {MAX_RESULTS}")
    return micro_batch
