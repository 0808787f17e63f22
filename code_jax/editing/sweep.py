"""A sweep: every point of a grid of settings, through one compiled program, sharing the encodings that points have in common.

The program is an edit's own (`code_jax.editing.edit.advance`), in which every image follows numbers of its own: a point's images
have the bytes of `edit` at the same number of images on a device. Work comes in chunks of one size, sharded over the devices.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import warnings
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from code_jax.devices.flags import own_flags
from code_jax.devices.memory import out_of_memory
from code_jax.devices.mesh import devices_for, sharding
from code_jax.devices.one_by_one import apart
from code_jax.diffusion.denoiser import Condition, Denoiser
from code_jax.documents import is_whole
from code_jax.editing.conditions import check_condition
from code_jax.editing.edit import advance, begin, field_of, route_of
from code_jax.editing.images import check_images, check_range
from code_jax.editing.keys import image_keys
from code_jax.editing.methods import Method
from code_jax.editing.points import MAX_RESULTS, SweepGrid, SweepPoint, at_points
from code_jax.editing.presets import preset
from code_jax.editing.result import EditInfo, finish
from code_jax.editing.route import Route
from code_jax.editing.settings import Settings
from code_jax.editing.words import in_words
from code_jax.errors import UserError
from code_jax.shapes import GivenImages, Images

Seeds = Key[Array, ""] | Key[Array, "seeds batch"]
_MOST_ON_CPU, _MOST = 8, 64  # images on a device at a time, beyond which none gains


class SweepResult(NamedTuple):
    """What a `sweep` gives.

    Attributes:
        points: the P points, in the grid's order.
        images: [P, B, H, W, C] float32 in [−1, 1], on the host.
        info: an `EditInfo` with arrays [P, B, ...]; `nfe` is that of each point by itself.
        settings: of the points, canonical: numbers [P, ...].
        evaluations: network evaluations of one image made in all: shared encodings count once.
        micro_batch: images on each device at a time: there `edit` gives a point's bytes.
    """

    points: tuple[SweepPoint, ...]
    images: Float[np.ndarray, "points batch height width channels"]
    info: EditInfo
    settings: Any
    evaluations: int
    micro_batch: int

    def __repr__(self) -> str:
        return in_words("SweepResult", self._asdict() | {"points": f"{len(self.points)} points"})


@own_flags()
def sweep(
    key: Seeds, prior: Denoiser, images: GivenImages, grid: SweepGrid | Sequence[SweepPoint], config: Settings | None = None, *,
    condition: Condition = None, micro_batch: int | None = None, after: Callable[[int, int], None] | None = None,
) -> SweepResult:  # fmt: skip
    """Edits the images at every point of a grid: one compiled program, with the encodings shared.

    Points of the same level and η have the same way up (and of the same seed, where `input_noise` is given to the input); it is
    made once for them. A point gives what `edit` gives with its numbers and its seed's keys.

    Args:
        key: a typed PRNG key [], from which image i of seed s takes ``fold_in(fold_in(key, s), i)``; or keys [seeds, B].
        prior: what an image should look like.
        images: [B, H, W, C] floating, in [−1, 1].
        grid: a `SweepGrid`, or some points of one.
        config: everything else, of any method; None is the default preset.
        condition: as in `edit`, of the images.
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
        >>> grid = code_jax.SweepGrid(relative_step=(0.05, 0.2), sigma=(0.5, 1.0, 2.0))
        >>> result = code_jax.sweep(jax.random.key(0), prior, jnp.zeros((2, 8, 8, 3)), grid)
        >>> result.images.shape, result.info.nfe[0].tolist(), result.evaluations  # 12 results, 6 encodings
        ((6, 2, 8, 8, 3), [24, 24], 228)
    """
    settings = preset() if config is None else config
    images, points = check_range(prior, check_images(prior, images)), grid.points() if isinstance(grid, SweepGrid) else list(grid)
    if not 1 <= len(points) * len(images) <= MAX_RESULTS:
        raise UserError(f"{len(points)} points of {len(images)} images; a sweep makes 1 to {MAX_RESULTS} results")
    numbers = at_points(settings, points, prior)
    condition = check_condition(prior, condition, len(images))
    keys = _seed_keys(key, images, 1 + max(point.seed for point in points))
    plan = _plan(keys, prior, images, numbers, points, condition)
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
    return SweepResult(tuple(points), pictures, EditInfo(*facts), numbers, evaluations, micro)


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What a sweep computes, a row for each image at each point.

    Attributes:
        keys: of the rows, [R].
        images: of the rows, [R, H, W, C].
        settings: with each row's numbers, [R, ...].
        condition: of the rows, [R, ...].
        first: the rows that are encoded, for themselves and for others, [E].
        encoding: which of those a row begins with, [R].
        moves: of the way up, and of the whole route.
        up, down: evaluations of the way up, and of the rest.
    """

    keys: Key[Array, " rows"]
    images: Float[np.ndarray, "rows height width channels"]
    settings: Any
    condition: Any
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

    def run(self, prior: Denoiser, micro: int, devices: Sequence[jax.Device], after: Callable[[int, int], None]) -> Any:
        """Images and facts of all rows, on the host."""
        chunk, spread = micro * len(devices), sharding(devices, "batch")
        total, (top, end) = self.evaluations(chunk), map(jnp.int32, self.moves)

        def operands(rows: np.ndarray) -> Any:
            numbers = jax.tree.map(lambda leaf: leaf[rows], (self.settings, self.condition))
            return jax.device_put((self.keys[rows], *numbers), spread)

        def encode(rows: np.ndarray) -> Any:
            keys, settings, condition = operands(self.first[rows])
            images = jax.device_put(self.images[self.first[rows]], spread)
            denoiser = apart(prior, images)
            state = jax.device_put(begin(keys, denoiser, images, settings), spread)  # as in `segments`
            state = jax.device_get(advance(keys, denoiser, state, settings, None, jnp.int32(0), top, condition))
            after(self.up * chunk, total)
            return state

        def complete(rows: np.ndarray) -> Any:
            keys, settings, condition = operands(rows)
            state = jax.device_put(jax.tree.map(lambda leaf: leaf[self.encoding[rows]], encoded), spread)
            result = finish(advance(keys, apart(prior, state.z), state, settings, None, top, end, condition), prior)
            restored = jax.device_get((result.images, tuple(result.info)))
            after(self.down * chunk, total)
            return restored

        after(0, total)
        encoded = _in_chunks(len(self.first), chunk, encode)
        return _in_chunks(len(self.encoding), chunk, complete)


def _plan(
    keys: Seeds, prior: Denoiser, images: Images, numbers: Any, points: Sequence[SweepPoint], condition: Condition
) -> _Plan:
    """Rows in the order of the points, then of the images; keys: [seeds, B]."""
    which, image = (axis.ravel() for axis in np.indices((len(points), len(images))))
    seeds = np.array([point.seed for point in points])[which]
    numbers, method = jax.device_get(numbers), numbers.method
    labels = [_way_up(jax.tree.map(operator.itemgetter(p), numbers), point.seed) for p, point in enumerate(points)]
    first, encoding = _shared([(labels[p], i) for p, i in zip(which.tolist(), image.tolist(), strict=True)])
    route, up = jax.device_get(route_of(prior, numbers)), method.up(numbers)
    _check_way_up(method, route, up, labels)
    cost, rows = route.cost(field_of(prior, numbers)), jax.tree.map(lambda value: value[which], numbers)
    costs = int(cost[:up].sum()), int(cost[up:].sum())
    condition = jax.tree.map(lambda leaf: np.asarray(leaf)[image], condition)
    return _Plan(keys[seeds, image], np.asarray(images)[image], rows, condition, first, encoding, (up, len(cost)), *costs)


def _way_up(settings: Any, seed: int) -> Hashable:
    """What a point's latent before the first correction depends on, beside the image."""
    upward = settings.method.upward
    noisy = "input_noise" not in upward or float(settings.input_noise) > 0
    return tuple(np.asarray(getattr(settings, name), float).tobytes() for name in upward), seed if noisy else None


def _check_way_up(method: Method, route: Route, up: int, labels: Sequence[Hashable]) -> None:
    """Raises UserError where points that share their way up would not go it alike: the method says something wrong of it."""
    if not 0 <= up <= len(route.kinds):
        raise UserError(f"the method {method.name} has a way up of {up} moves, and a route of {len(route.kinds)}")
    ways = (route.sigma, route.sigma_next, route.eps_coefficient, route.noise_coefficient, route.margin)
    first, own = _shared(labels)
    if any(not np.array_equal(way[:, :up], way[first[own], :up], equal_nan=True) for way in ways):
        said = ", ".join(method.upward) or "nothing"
        raise UserError(f"the way up of the method {method.name} depends on more than on what it says, {said}")


def _shared(labels: Sequence[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each distinct label, and for every row which of those is its own."""
    firsts: dict[Hashable, int] = {}
    for row, label in enumerate(labels):
        firsts.setdefault(label, row)
    order = {label: k for k, label in enumerate(firsts)}
    return np.array(list(firsts.values())), np.array([order[label] for label in labels])


def _seed_keys(key: Seeds, images: Images, seeds: int) -> Key[Array, "{seeds} batch"]:
    """Keys [seeds, B]: the given ones, or folded from a scalar key."""
    if getattr(key, "ndim", 0) != 2:
        return jnp.stack([image_keys(jax.random.fold_in(_scalar(key), seed), images) for seed in range(seeds)])
    if key.shape != (seeds, len(images)):
        raise UserError(f"keys of shape {key.shape} for {seeds} seeds and {len(images)} images; give [seeds, images], or one")
    return jnp.stack([image_keys(row, images) for row in key])


def _scalar(key: Key[Array, ""]) -> Key[Array, ""]:
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
    if not is_whole(micro_batch, 1, MAX_RESULTS):
        raise UserError(f"micro_batch is {micro_batch!r}; it must be a whole number from 1 to {MAX_RESULTS}")
    return micro_batch
