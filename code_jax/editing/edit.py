"""CODE (van Delft, Martorella & Alahi 2024, algorithm 1): encode and clip, climb in likelihood, decode."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.probability_flow import REVERSIBLE, noise_levels
from code_jax.diffusion.schedule import NoiseSchedule
from code_jax.diffusion.thresholding import DynamicThreshold
from code_jax.diffusion.tiling import Tiled
from code_jax.editing.config import EditConfig, EditProgram, Number, canonical, preset
from code_jax.editing.region import Region, check_mask
from code_jax.editing.route import (
    Route,
    Travel,
    ancestral_moves,
    depart,
    follow,
    langevin_moves,
    last_move,
    ode_moves,
    restart_move,
)
from code_jax.errors import UserError
from code_jax.priors.prior import Prior


class EditInfo(NamedTuple):
    """Facts of an `edit`.

    Attributes:
        nfe: network evaluations an image; a number, not an array.
        clipped: share of values that clipping changed at any step. [B].
        squared_score: mean squared score per dimension times 1 − ᾱ (so mean ε²) at the last corrected step; about 1 is typical,
            NaN where nothing was corrected. [B].
        finite: whether every value of the result is finite. bool [B].
        clipped_pixels: where clipping changed any channel at any step. bool [B, H, W].
    """

    nfe: Any
    clipped: jax.Array
    squared_score: jax.Array
    finite: jax.Array
    clipped_pixels: jax.Array


class EditResult(NamedTuple):
    """What `edit` gives.

    Attributes:
        images: [B, H, W, C] float32 in [−1, 1].
        info: an `EditInfo`.
    """

    images: jax.Array
    info: EditInfo


def edit(
    key: jax.Array, prior: Prior, images: jax.Array, config: EditConfig | None = None, mask: Any | None = None
) -> EditResult:
    """Restores or edits a batch of images: one XLA program for the whole of it (van Delft et al. 2024, algorithm 1).

    Each image gets σ_0 of noise, is carried up the probability-flow ODE to the deepest level, clipped to
    ±(√ᾱ_t + η√(1 − ᾱ_t)) after every step (Proposition 1), moved by annealed Langevin steps at each level of `config.depth`
    (equation 5) and carried down to σ = 0.

    Args:
        key: a typed PRNG key: one per image [B], or one [] from which image i takes ``fold_in(key, i)``.
        prior: what an image should look like; `code_jax.load_prior`, or `code_jax.tiled` for images larger than a prior's.
        images: [B, H, W, C] floating, in [−1, 1]; `code_jax.from_uint8` makes them.
        config: an `EditConfig`; `code_jax.preset` gives one that fits the prior. None is the default preset.
        mask: where an image may change, [H, W] or [B, H, W]. Outside, every pixel of the input is returned exactly, and the
            inside is brought into line with it (`code_jax.editing.region`). A bool mask's rim fades over 1/16 of the height;
            a floating one in [0, 1] is the share of the edit in the result. None is everywhere.

    Returns:
        An `EditResult`: images in [−1, 1], and facts.

    Raises:
        UserError: names a setting out of its range, or images or a mask that do not fit the prior.

    Example:
        >>> import code_jax, jax, jax.numpy as jnp
        >>> schedule = code_jax.linear_schedule()
        >>> eps = lambda params, x, t: x * jnp.sqrt(schedule.variance(t))[:, None, None, None]
        >>> prior = code_jax.Prior.from_function(eps, (), schedule, (8, 8, 3))
        >>> result = code_jax.edit(jax.random.key(0), prior, jnp.zeros((2, 8, 8, 3)))
        >>> result.images.shape, result.info.nfe
        ((2, 8, 8, 3), 24)

    `jax.vmap` over keys, step size, depth or η gives what a loop over them gives.
    """
    config = preset("default", prior.schedule) if config is None else config
    config, keys, images = canonical(config), image_keys(key, images), check_images(prior, images)
    mask = None if mask is None else check_mask(mask, images)
    return finish(_edit(keys, prior, images, per_image(config, len(images)), mask), config)


def sdedit(
    key: jax.Array, prior: Prior, images: jax.Array, config: EditConfig | None = None, mask: Any | None = None
) -> EditResult:
    """SDEdit (Meng et al. 2022, algorithm 1): x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) n, then ancestral steps (DDIM with η = 1) to 0.

    With as many steps as timesteps below the depth this is the original algorithm.

    Args:
        key, prior, images: as in `edit`.
        config: of it only the first depth, `num_steps`, `grid` and `dynamic_threshold` matter; None is the default preset.
        mask: as in `edit`.

    Returns:
        An `EditResult`, as of `edit`.

    Raises:
        UserError: as `edit` does.

    Example:
        >>> import code_jax, jax, jax.numpy as jnp
        >>> schedule = code_jax.linear_schedule()
        >>> eps = lambda params, x, t: x * jnp.sqrt(schedule.variance(t))[:, None, None, None]
        >>> prior = code_jax.Prior.from_function(eps, (), schedule, (8, 8, 3))
        >>> code_jax.sdedit(jax.random.key(0), prior, jnp.zeros((2, 8, 8, 3))).info.nfe
        21
    """
    config = preset("default", prior.schedule, method="sdedit") if config is None else config
    return edit(key, prior, images, config.with_program(method="sdedit"), mask)


def route_of(schedule: NoiseSchedule, config: EditConfig) -> Route:
    """The moves of a canonical config's method."""
    program = config.program
    depths, step_sizes = jnp.broadcast_arrays(jnp.atleast_1d(config.depth), jnp.atleast_1d(config.step_size))
    times = schedule.timestep(depths)
    levels = functools.partial(noise_levels, schedule, grid=program.grid)
    if program.method == "sdedit":
        sigmas = levels(times[0], 0.0, num_steps=program.num_steps)
        return ancestral_moves(sigmas, program.solver) + last_move(sigmas[-1], program.solver)

    restart = functools.partial(restart_move, solver=program.solver)
    up = levels(0.0, times[0], num_steps=program.num_steps)
    route = restart(up[0]) + ode_moves(up, program.solver, config.eta)
    if program.method == "ddim":
        route += ode_moves(levels(times[0], 0.0, num_steps=program.num_steps), program.solver)
        return route + last_move(schedule.sigma(0.0), program.solver)
    stops = jnp.append(times, 0.0)
    per_leg = -(-program.num_steps // len(depths))
    rates = anneal(config.anneal_rate, program.langevin_steps, program.anneal_levels)
    for level in range(len(depths)):
        sigma, variance = schedule.sigma(times[level]), schedule.variance(times[level])
        if program.langevin_steps:
            route += langevin_moves(sigma, step_sizes[level] / variance * rates, program.langevin, program.solver)
            route += restart(sigma)
        route += ode_moves(levels(stops[level], stops[level + 1], num_steps=per_leg), program.solver)
    return route + last_move(schedule.sigma(0.0), program.solver)


def moves_up(program: EditProgram) -> int:
    """How many of a route's moves are its way up to the deepest level."""
    return 0 if program.method == "sdedit" else program.num_steps + (program.solver in REVERSIBLE)


def anneal(rate: jax.Array, steps: int, levels: int) -> jax.Array:
    """γ^j for each of the steps, shared evenly among levels j = 0..levels − 1. [steps]."""
    return rate ** jnp.array(np.arange(steps) * levels // max(steps, 1), rate.dtype)


def denoiser_of(prior: Prior, threshold: tuple[Number, Number] | None) -> Denoiser:
    """The prior, thresholded unless `threshold` is None: window by window where it is tiled, which is what the prior knows."""
    if threshold is None:
        return prior
    if isinstance(prior, Tiled):
        windows = (jnp.repeat(number, prior.chunk) if jnp.ndim(number) else number for number in threshold)
        return prior.replace(denoiser=DynamicThreshold(prior.denoiser, *windows))
    return DynamicThreshold(prior, *threshold)


def per_image(config: EditConfig, count: int) -> EditConfig:
    """A canonical config with each number repeated for every image, [count, ...]: what the compiled programs take.

    So a sweep, whose images differ in their numbers, runs the very program of an edit and gives its bytes.

    Raises:
        UserError: for an array where there should be a number.
    """
    numbers = {name: getattr(config, name) for name in ("eta", "anneal_rate", "input_noise")}
    numbers |= dict(zip(("quantile", "s_max"), config.dynamic_threshold or (), strict=False))
    for name, number in numbers.items():
        if jnp.ndim(number):
            raise UserError(f"{name} has shape {jnp.shape(number)}; it must be one number (jax.vmap and sweep take several)")
    return jax.tree.map(lambda value: jnp.broadcast_to(value, (count, *value.shape)), config)


@jax.jit
def begin(keys: jax.Array, prior: Prior, images: jax.Array, config: EditConfig, mask: jax.Array | None = None) -> Travel:
    """The images with their first noise: `input_noise`·σ_0 for the ODE, σ of the depth for SDEdit.

    The config's numbers are `per_image`; mask: [B, H, W, 1].
    """
    draw = lambda key: jax.random.normal(jax.random.fold_in(key, 2**31 - 1), images.shape[1:], images.dtype)  # noqa: E731
    if config.program.method == "sdedit":
        sigma = noise = prior.schedule.sigma(
            prior.schedule.timestep(config.depth if config.depth.ndim == 1 else config.depth[:, 0])
        )
    else:
        sigma = prior.schedule.sigma(jnp.zeros(len(images)))
        noise = config.input_noise * sigma
    z = images + noise[:, None, None, None] * jax.vmap(draw)(keys)
    region = None if mask is None else Region(mask, images, z, sigma[:, None, None, None])
    return depart(z, region, config.program.solver)


@functools.partial(jax.jit, donate_argnames="travel")
def advance(keys: jax.Array, prior: Prior, travel: Travel, config: EditConfig, first: jax.Array, last: jax.Array) -> Travel:
    """Makes the moves first..last − 1 of an edit; segments in a row give the bytes of one call. Numbers are `per_image`."""
    return _follow_each(keys, prior, travel, config, first, last)


def segments(
    keys: jax.Array,
    prior: Prior,
    images: jax.Array,
    config: EditConfig,
    bounds: Sequence[int] | np.ndarray,
    mask: Any | None = None,
) -> Iterator[Travel]:
    """The state of an edit at every one of the `bounds`, numbers of moves made, increasing from 0 to all of them.

    A state is given up when the next is asked for. `finish` makes the result of the last one.
    """
    config, images = canonical(config), check_images(prior, images)
    config = per_image(config, len(images))
    travel = begin(keys, prior, images, config, None if mask is None else check_mask(mask, images))
    travel = jax.device_put(travel, images.sharding)  # constants come out on all devices: as they are, they would compile twice
    yield travel
    for first, last in itertools.pairwise(bounds):
        travel = advance(keys, prior, travel, config, jnp.int32(first), jnp.int32(last))
        yield travel


def run_in_segments(
    keys: jax.Array, prior: Prior, images: jax.Array, config: EditConfig, bounds: np.ndarray, after: Callable[[int], None],
    mask: Any | None = None,
) -> EditResult:  # fmt: skip
    """`edit` in segments of moves between consecutive `bounds`; `after(k)` is called on the host with the moves done."""
    states = segments(keys, prior, images, config, bounds, mask)
    travel = next(states)
    for last, travel in zip(bounds[1:], states, strict=True):
        travel.z.block_until_ready()
        after(int(last))
    return finish(travel, canonical(config))


def number_of_moves(config: EditConfig) -> tuple[int, int]:
    """(moves, network evaluations) of a config; nothing is computed."""
    levels = np.broadcast_shapes(*(np.shape(value) or (1,) for value in (config.depth, config.step_size)))
    return _number_of_moves(config.program, levels[0])


@functools.lru_cache
def _number_of_moves(program: EditProgram, levels: int) -> tuple[int, int]:
    config = EditConfig(depth=np.linspace(1.0, 0.5, levels), step_size=np.ones(levels), program=program)
    schedule = NoiseSchedule(jnp.linspace(-4.0, 5.0, 1000), jnp.float32(999))
    route = jax.eval_shape(lambda: route_of(schedule, canonical(config)))
    return len(route.kinds), route.nfe


def finish(travel: Travel, config: EditConfig) -> EditResult:
    """The result of a finished route."""
    images, clipped, finite, pixels = _ended(travel)
    return EditResult(images, EditInfo(number_of_moves(config)[1], clipped, travel.squared_eps, finite, pixels))


def image_keys(key: jax.Array, images: jax.Array) -> jax.Array:
    """One typed key per image: the given ones [B], or ``fold_in(key, i)`` of a scalar key."""
    if not jnp.issubdtype(getattr(key, "dtype", np.dtype(int)), jax.dtypes.prng_key):
        raise UserError("key is not a typed PRNG key; make one with jax.random.key(seed)")
    if key.ndim == 0:
        return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(len(images)))
    if key.shape != images.shape[:1]:
        raise UserError(f"{key.shape[0]} keys for {len(images)} images; give one per image, or a scalar key")
    return key


def check_images(prior: Prior, images: Any) -> jax.Array:
    """The images as float32 [B, H, W, C]; raises UserError where they do not fit the prior."""
    images = jnp.asarray(images)
    if images.shape[1:] != prior.image_shape or images.ndim != 4:
        raise UserError(
            f"images of shape {images.shape} do not fit the prior; it takes [B, {', '.join(map(str, prior.image_shape))}]"
        )
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise UserError(f"images are {images.dtype}; scale them to [-1, 1] with code_jax.from_uint8")
    return images.astype(float)


@jax.jit
def _ended(travel: Travel) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Images, share of clipped values, whether all are finite, and the clipped pixels, of each."""
    finite = jnp.all(jnp.isfinite(travel.z), axis=(1, 2, 3))
    clipped = jnp.mean(travel.clipped, axis=(1, 2, 3), dtype=jnp.float32)
    return jnp.clip(travel.z, -1.0, 1.0), clipped, finite, jnp.any(travel.clipped, axis=-1)


@jax.jit
def _edit(keys: jax.Array, prior: Prior, images: jax.Array, config: EditConfig, mask: jax.Array | None = None) -> Travel:
    return _follow_each(keys, prior, begin(keys, prior, images, config, mask), config, 0, None)


def _follow_each(
    keys: jax.Array, prior: Prior, travel: Travel, config: EditConfig, first: jax.typing.ArrayLike, last: jax.Array | None
) -> Travel:
    """`follow` for each image with its own numbers: routes of the same moves; `last` None is to the end."""
    route = jax.vmap(functools.partial(route_of, prior.schedule))(config)
    end = len(route.kinds) if last is None else last
    return follow(keys, denoiser_of(prior, config.dynamic_threshold), route, travel, first, end)
