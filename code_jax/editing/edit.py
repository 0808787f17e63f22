"""Editing a batch of images by any method: one XLA program, or the same program in segments."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ScalarLike

from code_jax.devices.flags import own_flags
from code_jax.devices.one_by_one import apart
from code_jax.diffusion.codec import decoded, encoded
from code_jax.diffusion.denoiser import Condition, Denoiser
from code_jax.diffusion.guidance import guided
from code_jax.diffusion.projections import Composite
from code_jax.diffusion.thresholding import thresholded
from code_jax.editing import route as routes
from code_jax.editing.conditions import check_condition
from code_jax.editing.images import check_images, check_range
from code_jax.editing.keys import image_keys
from code_jax.editing.masks import latent_region, region_of
from code_jax.editing.methods.official import OfficialSettings
from code_jax.editing.presets import preset
from code_jax.editing.result import EditResult, finish
from code_jax.editing.route import Route, State
from code_jax.editing.settings import EditConfig, Settings
from code_jax.errors import UserError, brief
from code_jax.shapes import GivenImage, GivenImages, GivenMask, Images, KeyPerImage, Keys, Latents


@own_flags()
def edit(
    key: Keys, prior: Denoiser, images: GivenImages | GivenImage, config: Settings | None = None, mask: GivenMask | None = None,
    condition: Condition = None,
) -> EditResult:  # fmt: skip
    """Restores or edits a batch of images: one XLA program for the whole of it (van Delft et al. 2024, algorithm 1).

    Each image gets σ_0 of noise, is carried up the probability-flow ODE to the deepest level, clipped to
    ±(√ᾱ_t + η√(1 − ᾱ_t)) after every step (Proposition 1), moved by annealed Langevin steps at each level of `config.sigma` and
    carried down to σ = 0. The default step keeps the noise level (`code_jax.diffusion.langevin`), which the paper's does not: its
    equation 5 is "unadjusted".

    Args:
        key: a typed PRNG key: one per image [B], or one [] from which image i takes ``fold_in(key, i)``.
        prior: what an image should look like; `code_jax.load_prior`, or `code_jax.tiled` for images larger than a prior's.
        images: [B, H, W, C] floating, in [−1, 1]; `code_jax.from_uint8` makes them. One image [H, W, C] is edited as a batch of
            one, and comes back without the axis, as its facts do; a mask is then [H, W], and a condition has no axis either.
        config: an `EditConfig`, such as `code_jax.preset` gives, or another method's settings. None is the default preset.
        mask: where an image may change, [H, W] or [B, H, W]. Outside, every pixel of the input is returned exactly, and the
            inside is brought into line with it (`code_jax.diffusion.projections.Composite`). A bool mask's rim fades over 1/16 of
            the height; a floating one in [0, 1] is the share of the edit in the result. None is everywhere.
        condition: of a conditional prior: a label for each image, whole numbers [B], where it has classes (one [] is of all; None
            is no class, where it knows pictures without); of one's own prior a pytree with one entry an image, [B, ...].

    Returns:
        An `EditResult`: images in [−1, 1], and facts.

    Raises:
        UserError: names a setting out of its range, or images, a mask or labels that do not fit the prior.

    Example:
        >>> import code_jax, jax, jax.numpy as jnp
        >>> schedule = code_jax.linear_schedule()
        >>> eps = lambda params, x, t: x * jnp.sqrt(schedule.variance(t))[:, None, None, None]
        >>> prior = code_jax.Prior.from_function(eps, (), schedule, (8, 8, 3))
        >>> result = code_jax.edit(jax.random.key(0), prior, jnp.zeros((2, 8, 8, 3)))
        >>> result.images.shape, result.info.nfe.tolist()
        ((2, 8, 8, 3), [24, 24])

    `jax.vmap` over keys, step size, depth or η gives what a loop over them gives.
    """
    if jnp.ndim(images) == 3:
        condition = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], condition)
        return jax.tree.map(lambda leaf: leaf[0], edit(key, prior, jnp.asarray(images)[None], config, mask, condition))
    settings = preset() if config is None else config
    images, keys = check_range(prior, check_images(prior, images)), image_keys(key, images)
    settings, region = per_image(settings, prior, len(images)), region_of(settings, mask, images)
    condition, prior = check_condition(prior, condition, len(images)), apart(prior, images)
    return finish(_edit(keys, prior, images, settings, region, condition), prior, region)


def sdedit(
    key: Keys, prior: Denoiser, images: GivenImages | GivenImage, config: EditConfig | None = None, mask: GivenMask | None = None,
    condition: Condition = None,
) -> EditResult:  # fmt: skip
    """SDEdit (Meng et al. 2022, algorithm 1): x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) n, then ancestral steps (DDIM with η = 1) to 0.

    With as many steps as timesteps below the depth this is the original algorithm. Those are the steps of the solver "ddim";
    another takes the noise away along the probability-flow ODE. `repeats` does all of it several times.

    Args:
        key, prior, images: as in `edit`.
        config: of it the first level, steps, `repeats`, solver, grid and threshold matter; None is the default preset.
        mask, condition: as in `edit`.

    Returns:
        An `EditResult`, as of `edit`.

    Raises:
        UserError: as `edit` does.

    Example:
        >>> import code_jax, jax, jax.numpy as jnp
        >>> schedule = code_jax.linear_schedule()
        >>> eps = lambda params, x, t: x * jnp.sqrt(schedule.variance(t))[:, None, None, None]
        >>> prior = code_jax.Prior.from_function(eps, (), schedule, (8, 8, 3))
        >>> code_jax.sdedit(jax.random.key(0), prior, jnp.zeros((2, 8, 8, 3))).info.nfe.tolist()
        [21, 21]
    """
    config = preset("default", "sdedit") if config is None else config
    return edit(key, prior, images, config.with_program(method="sdedit"), mask, condition)


def official(
    key: Keys, prior: Denoiser, images: GivenImages | GivenImage, settings: OfficialSettings | None = None
) -> EditResult:
    """Edits as the published program does (`QUIRKS` says where that is not the paper's algorithm); one XLA program.

    Args:
        key, prior, images: as in `edit`; the prior has timesteps.
        settings: None is the published notebook's: 902 evaluations an image, 903 with clipping.

    Returns:
        An `EditResult`, as of `edit`.

    Raises:
        UserError: as `edit` does, or for a prior without timesteps.

    Example:
        >>> import code_jax, jax, jax.numpy as jnp
        >>> schedule = code_jax.linear_schedule()
        >>> eps = lambda params, x, t: x * jnp.sqrt(schedule.variance(t))[:, None, None, None]
        >>> prior = code_jax.Prior.from_function(eps, (), schedule, (8, 8, 3))
        >>> code_jax.official(jax.random.key(0), prior, jnp.zeros((1, 8, 8, 3))).info.nfe.tolist()
        [902]
    """
    return edit(key, prior, images, OfficialSettings() if settings is None else settings)


def per_image(settings: Settings, denoiser: Denoiser, count: int) -> Any:
    """Canonical settings with each number repeated for every image, [count, ...]: what the compiled programs take.

    So a sweep, whose images differ in their numbers, runs the very program of an edit and gives its bytes.

    Raises:
        UserError: for what are no settings, a value out of its range, or an array where there should be a number.
    """
    if not hasattr(settings, "method"):
        raise UserError(f"{brief(settings)} are no settings; code_jax.preset makes them")
    settings = settings.method.canonical(settings, denoiser)
    for path, number in jax.tree_util.tree_leaves_with_path(settings):
        name = jax.tree_util.keystr(path, simple=True, separator=" ")
        if jnp.ndim(number) > (name in ("sigma", "relative_step")):
            raise UserError(f"{name} has shape {jnp.shape(number)}; it must be one number (jax.vmap and sweep take several)")
    return jax.tree.map(lambda value: jnp.broadcast_to(value, (count, *value.shape)), settings)


def field_of(denoiser: Denoiser, settings: Settings) -> Denoiser:
    """What an edit asks for ε: guided to a class and thresholded, or what its method makes of the denoiser."""
    own, weight = settings.method.field, getattr(settings, "guidance", None)
    return own(settings, denoiser) if own else thresholded(guided(denoiser, weight), settings.dynamic_threshold)


def route_of(denoiser: Denoiser, settings: Settings) -> Route:
    """The moves of `per_image` settings, [B, K]."""
    route: Route = jax.vmap(lambda own: settings.method.route(own, denoiser))(settings)
    return route


@jax.jit
def begin(keys: KeyPerImage, denoiser: Denoiser, images: Images, settings: Settings, region: Composite | None = None) -> State:
    """The images, or their latents, with their first noise, before any move. The settings are `per_image`."""
    clean, dtype = encoded(denoiser, images), images.dtype

    def draw(number: int) -> Latents:
        shape = clean.shape[1:]
        return jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, 2**31 - number), shape, dtype))(keys)

    z, sigma, *kept = settings.method.start(settings, denoiser, clean, draw)
    z, sigma, route = z.astype(dtype), sigma.astype(dtype), route_of(denoiser, settings)
    state = routes.init(z, sigma, route, route.projections(denoiser, region), *kept)
    if denoiser.codec is None:
        return state
    return state.replace(codec_error=jnp.mean((decoded(denoiser, clean) - images) ** 2, axis=(1, 2, 3)))


@functools.partial(jax.jit, donate_argnames="state")
def advance(
    keys: KeyPerImage, denoiser: Denoiser, state: State, settings: Settings, region: Composite | None,
    first: ScalarLike, last: ScalarLike, condition: Condition = None,
) -> State:  # fmt: skip
    """Makes the moves first..last − 1 of an edit; segments in a row give the bytes of one call.

    The settings are `per_image`, the region is a `latent_region`.
    """
    return _advanced(keys, denoiser, state, settings, region, first, last, condition)


def segments(
    keys: KeyPerImage, denoiser: Denoiser, images: GivenImages, settings: Settings, bounds: Iterable[int] | np.ndarray,
    mask: GivenMask | None = None, condition: Condition = None,
) -> Iterator[State]:  # fmt: skip
    """The state of an edit at every one of the `bounds`, numbers of moves made, increasing from 0 to all of them.

    A state is given up when the next is asked for. `finish` makes the result of the last one, with `region_of` the mask.
    """
    images = check_images(denoiser, images)
    region, settings = region_of(settings, mask, images), per_image(settings, denoiser, len(images))
    condition = check_condition(denoiser, condition, len(images))
    region = region if denoiser.codec is None else _latent_region(denoiser, region)
    settings, region = jax.device_put((settings, region), images.sharding)
    denoiser = apart(denoiser, images)
    state = begin(keys, denoiser, images, settings, region)
    state = jax.device_put(state, images.sharding)  # constants come out on all devices: as they are, they would compile twice
    yield state
    for first, last in itertools.pairwise(bounds):
        state = advance(keys, denoiser, state, settings, region, jnp.int32(first), jnp.int32(last), condition)
        yield state


def run_in_segments(
    keys: KeyPerImage, denoiser: Denoiser, images: GivenImages, settings: Settings, bounds: np.ndarray,
    after: Callable[[int], None], mask: GivenMask | None = None, condition: Condition = None,
) -> EditResult:  # fmt: skip
    """`edit` in segments of moves between consecutive `bounds`; `after(k)` is called on the host with the moves done."""
    states = segments(keys, denoiser, images, settings, bounds, mask, condition)
    state = next(states)
    for last, state in zip(bounds[1:], states, strict=True):
        state.z.block_until_ready()
        after(int(last))
    return finish(state, denoiser, region_of(settings, mask, jnp.asarray(images)))


def number_of_moves(denoiser: Denoiser, settings: Settings) -> tuple[int, int]:
    """(moves, network evaluations) of an image; nothing is computed."""
    cost = jax.eval_shape(functools.partial(_one_route, settings), denoiser).cost(field_of(denoiser, settings))
    return len(cost), int(cost.sum())


def _one_route(settings: Settings, denoiser: Denoiser) -> Route:
    return settings.method.route(settings.method.canonical(settings, denoiser), denoiser)


@jax.jit
def _edit(
    keys: KeyPerImage, denoiser: Denoiser, images: Images, settings: Settings, region: Composite | None, condition: Condition
) -> State:
    region = latent_region(denoiser, region)
    state = begin(keys, denoiser, images, settings, region)
    return _advanced(keys, denoiser, state, settings, region, 0, None, condition)


_latent_region = jax.jit(latent_region)


def _advanced(
    keys: KeyPerImage, denoiser: Denoiser, state: State, settings: Settings, region: Composite | None,
    first: ScalarLike, last: ScalarLike | None, condition: Condition,
) -> State:  # fmt: skip
    field, route = field_of(denoiser, settings), route_of(denoiser, settings)
    end = len(route.kinds) if last is None else last
    return routes.run(keys, field, route, route.projections(denoiser, region), state, first, end, condition)
