"""The published program of CODE, quirk by quirk: what the paper ran, where that departs from the paper's formulae.

Written from a description of the program, none of it copied. Each departure can be switched off by its name in `QUIRKS`; without
any it is `code_jax.edit` with explicit Euler, a grid uniform in t and unadjusted Langevin steps. Nothing else knows of quirks.
Every move is z ← z + a·ε(z, σ) + b·n with z = x/√ᾱ (`code_jax.editing.route`), so that one loop runs any settings of one
length, and a new step size or set of quirks compiles nothing.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from code_jax.diffusion.denoiser import eps_at
from code_jax.diffusion.schedule import NoiseSchedule
from code_jax.editing.edit import EditInfo, EditResult, check_images, denoiser_of, image_keys
from code_jax.errors import UserError
from code_jax.priors.prior import Prior

QUIRKS = {
    "clip_by_index": "clipping takes ᾱ at the step's index among the N steps, not at its timestep: the bounds are far too tight",
    "clip_before_evaluation": "clipping acts before an evaluation, from the second on: the deepest code is not clipped",
    "last_step_up": "the last decoding step goes up to the second timestep, not down to 0: the result keeps noise",
    "latent_off_by_one": "latent L is the step of index L − 2, not L − 1",
    "step_size_law": "the step size at index i is multiplied by 100^(1 − i/(N − 1))",
    "silent_last_step": "each annealing level ends with one more step, without noise and without thresholding",
    "decode_deepest_code": "with clipping, decoding starts from the deepest code, not from the chosen latent",
    "noise_twice": "the input's noise is added twice",
    "encode_all": "all N latents are encoded, however shallow the chosen one; the evaluations count",
    "ddim_last_but_one": "without Langevin steps (the table's DDIM row) the last code but one is decoded as if it were the last",
}


@dataclasses.dataclass(frozen=True)
class OfficialSettings:
    """Settings of `official`; the defaults are the published notebook's.

    Attributes:
        num_steps: N, steps of the ODE, at timesteps i·T/N for i = 0..N − 1.
        latent: the deepest corrected latent, counted from 1 to N (see ``latent_off_by_one``).
        further: indices of the other corrected latents, decreasing.
        langevin_steps: at each corrected latent, shared evenly among the levels (the rest is dropped); 0 is the DDIM row, which
            goes through all N latents.
        anneal_levels: step sizes h·γ^j.
        anneal_rate: γ in (0, 1].
        step_size: h > 0 (see ``step_size_law``).
        eta: η of confidence-based clipping, published with 1.7; None is off.
        input_noise: noise given to the input, in units of σ_0, 0.01 on DDPM's schedule (see ``noise_twice``).
        dynamic_threshold: (quantile, s_max) of `DynamicThreshold`, or None.
        quirks: names in `QUIRKS`.
    """

    num_steps: int = 200
    latent: int = 200
    further: tuple[int, ...] = (20,)
    langevin_steps: int = 250
    anneal_levels: int = 4
    anneal_rate: float = 0.8
    step_size: float = 1.15e-5
    eta: float | None = None
    input_noise: float = 1.0
    dynamic_threshold: tuple[float, float] | None = (0.98, 1.3)
    quirks: frozenset[str] = frozenset(QUIRKS)

    def __post_init__(self) -> None:
        for name, least in (("num_steps", 3), ("latent", 2), ("langevin_steps", 0), ("anneal_levels", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= 100_000:
                raise UserError(f"{name} is {value!r}; it must be a whole number from {least} to 100000")
        for name, value, good, wanted in (
            ("anneal_rate", self.anneal_rate, 0 < self.anneal_rate <= 1, "in (0, 1]"),
            ("step_size", self.step_size, 0 < self.step_size < math.inf, "positive"),
            ("eta", self.eta, self.eta is None or self.eta > 0, "positive, or none"),
            ("input_noise", self.input_noise, 0 <= self.input_noise < math.inf, "zero or positive"),
            ("latent", self.latent, self.latent <= self.num_steps and self.deepest >= 1, f"from 3 to {self.num_steps} steps"),
            ("langevin_steps", self.langevin_steps, self.langevin_steps in (0, *range(self.anneal_levels, 100_001)),
             f"0, or at least the {self.anneal_levels} levels"),
        ):  # fmt: skip
            if not good:
                raise UserError(f"{name} is {value!r}; it must be {wanted}")
        if self.dynamic_threshold is not None:
            quantile, s_max = self.dynamic_threshold
            if not (0 < quantile <= 1 and s_max >= 1):
                raise UserError(f"dynamic_threshold is {(quantile, s_max)}; its quantile must be in (0, 1], its s_max at least 1")
        if any(a <= b for a, b in itertools.pairwise((self.deepest, *self.further))) or min(self.further, default=0) < 0:
            raise UserError(f"corrected steps {[self.deepest, *self.further]} must decrease, to 0 at least")
        if unknown := sorted(self.quirks - QUIRKS.keys()):
            raise UserError(f"quirk {unknown[0]!r} is unknown; choose from {', '.join(QUIRKS)}")

    @property
    def deepest(self) -> int:
        """Index of the deepest corrected step."""
        return self.latent - 1 - ("latent_off_by_one" in self.quirks)

    def without(self, *names: str) -> OfficialSettings:
        """The same with these quirks switched off."""
        for name in names:
            if name not in QUIRKS:
                raise UserError(f"quirk {name!r} is unknown; choose from {', '.join(QUIRKS)}")
        return dataclasses.replace(self, quirks=self.quirks - set(names))


class Plan(flax.struct.PyTreeNode):
    """The moves that settings make on a schedule; float32 [K] unless said otherwise.

    Attributes:
        sigma: noise level of the evaluation.
        a, b: coefficients of ε and of the noise.
        before, after: |z| is clipped to them before and after the move; infinity where nothing is.
        silent: a move whose ε is not thresholded. bool [K].
        corrects: a Langevin move. bool [K].
        draws: the number of its noise among the Langevin moves, as `edit` has it. int32 [K].
        kept, departure: the move after which the code is kept, and that before which decoding starts from it. int [].
        rescale: what the code is multiplied by on departure. [].
        noise: deviations of the two noises given to the input. [2].
        last: x/z at the end, 1 where it is σ = 0. [].
        dynamic_threshold: (quantile, s_max), or None.
    """

    sigma: Any
    a: Any
    b: Any
    before: Any
    after: Any
    silent: Any
    corrects: Any
    draws: Any
    kept: Any
    departure: Any
    rescale: Any
    noise: Any
    last: Any
    dynamic_threshold: tuple[Any, Any] | None


class State(flax.struct.PyTreeNode):
    """Images on their way: z and the kept code [B, H, W, C], where clipping changed z, and the last correction's mean ε² [B]."""

    z: jax.Array
    code: jax.Array
    clipped: jax.Array
    squared_eps: jax.Array


def official(key: jax.Array, prior: Prior, images: jax.Array, settings: OfficialSettings | None = None) -> EditResult:
    """Edits as the published program does (`QUIRKS` says where that is not the paper's algorithm); one XLA program.

    Args:
        key: a typed PRNG key: one per image [B], or one [] from which image i takes ``fold_in(key, i)``.
        prior: what an image should look like.
        images: [B, H, W, C] floating, in [−1, 1].
        settings: None is the published notebook's: 902 evaluations an image, 903 with clipping.

    Returns:
        An `EditResult`: images in [−1, 1], and facts.

    Raises:
        UserError: names a setting out of its range, or images that do not fit the prior.

    Example:
        >>> import code_jax, jax, jax.numpy as jnp
        >>> schedule = code_jax.linear_schedule()
        >>> eps = lambda params, x, t: x * jnp.sqrt(schedule.variance(t))[:, None, None, None]
        >>> prior = code_jax.Prior.from_function(eps, (), schedule, (8, 8, 3))
        >>> code_jax.official(jax.random.key(0), prior, jnp.zeros((1, 8, 8, 3))).info.nfe
        902
    """
    settings = OfficialSettings() if settings is None else settings
    keys, images = image_keys(key, images), check_images(prior, images)
    plan = plan_of(prior.schedule, settings)
    return _finish(_run(keys, prior, images, plan), plan)


def run_in_segments(
    keys: jax.Array, prior: Prior, images: jax.Array, settings: OfficialSettings, bounds: np.ndarray, after: Callable[[int], None]
) -> EditResult:
    """`official` in segments of moves between consecutive `bounds`; `after(k)` is called on the host with the moves done."""
    images, plan = check_images(prior, images), plan_of(prior.schedule, settings)
    state = jax.device_put(begin(keys, images, plan), images.sharding)
    for first, last in itertools.pairwise(bounds):
        state = advance(keys, prior, plan, state, jnp.int32(first), jnp.int32(last))
        state.z.block_until_ready()
        after(int(last))
    return _finish(state, plan)


def number_of_moves(settings: OfficialSettings) -> int:
    """Moves, each of one network evaluation."""
    top, start = _turning_points(settings)
    corrections = 0 if not settings.langevin_steps else _silent(settings) + settings.langevin_steps // settings.anneal_levels
    return top + corrections * settings.anneal_levels * (1 + len(settings.further)) + start + 1


def plan_of(schedule: NoiseSchedule, settings: OfficialSettings) -> Plan:
    """The moves, computed in float64."""
    steps, clips = settings.num_steps, settings.eta is not None
    if steps > schedule.num_timesteps:
        raise UserError(f"num_steps is {steps}; the prior has {schedule.num_timesteps} timesteps")
    table = np.exp(np.asarray(schedule.log_sigma, np.float64))
    times = np.arange(steps) * schedule.num_timesteps // steps
    sigma, (top, start) = table[times], _turning_points(settings)
    code = start - (not settings.langevin_steps and "ddim_last_but_one" in settings.quirks)

    looked_up = table[np.arange(steps)] if "clip_by_index" in settings.quirks else sigma
    eta = settings.eta or math.inf
    bounds = (1 + eta * looked_up) / np.sqrt(1 + looked_up**2) * np.sqrt(1 + sigma**2) if clips else np.full(steps, math.inf)
    early = "clip_before_evaluation" in settings.quirks
    rows = []  # σ, a, b, clipped before, clipped after, silent, corrects
    for i in range(top):
        before, after = (bounds[i] if i else math.inf, math.inf) if early else (math.inf, bounds[i + 1])
        rows.append((sigma[i], sigma[i + 1] - sigma[i], 0.0, before, after, False, False))
    for i in range(start, -1, -1):
        if settings.langevin_steps and i in (settings.deepest, *settings.further):
            rows += _corrections(settings, i, sigma[i])
        below = sigma[i - 1] if i else sigma[1] if "last_step_up" in settings.quirks else 0.0
        rows.append((sigma[i], below - sigma[i], 0.0, math.inf, math.inf, False, False))
    columns = [np.array(column, bool if k > 4 else np.float32) for k, column in enumerate(zip(*rows, strict=True))]
    noise = settings.input_noise * sigma[0] * np.array([1, "noise_twice" in settings.quirks])
    rescale = np.sqrt((1 + sigma[start] ** 2) / (1 + sigma[code] ** 2))
    numbers = (np.int32(code - 1), np.int32(top), np.float32(rescale), noise.astype(np.float32))
    threshold = None if settings.dynamic_threshold is None else tuple(map(np.float32, settings.dynamic_threshold))
    draws = np.maximum(np.cumsum(columns[6]) - 1, 0).astype(np.int32)
    values = (*columns, draws, *numbers, np.float32(1 / np.sqrt(1 + below**2)), threshold)
    return Plan(**dict(zip(Plan.__dataclass_fields__, values, strict=True)))


def _turning_points(settings: OfficialSettings) -> tuple[int, int]:
    """Index of the step where encoding ends, and of that where decoding starts."""
    last = settings.num_steps - 1
    if not settings.langevin_steps:
        return last, last
    start = last if settings.eta is not None and "decode_deepest_code" in settings.quirks else settings.deepest
    return (last if "encode_all" in settings.quirks else start), start


def _silent(settings: OfficialSettings) -> int:
    return int("silent_last_step" in settings.quirks)


def _corrections(settings: OfficialSettings, index: int, sigma: float) -> list[tuple[Any, ...]]:
    """Langevin moves at a step: x ← x − h·ε/√(1 − ᾱ) + √(2h)·n is z ← z − rσε + √(2r)σn with r = h/(1 − ᾱ)."""
    law = 100 ** (1 - index / (settings.num_steps - 1)) if "step_size_law" in settings.quirks else 1.0
    moves: list[tuple[Any, ...]] = []
    for level in range(settings.anneal_levels):
        relative = settings.step_size * law * settings.anneal_rate**level * (1 + sigma**-2)
        for k in range(settings.langevin_steps // settings.anneal_levels + _silent(settings)):
            silent = k == settings.langevin_steps // settings.anneal_levels
            noise = 0.0 if silent else math.sqrt(2 * relative) * sigma
            moves.append((sigma, -relative * sigma, noise, math.inf, math.inf, silent, True))
    return moves


def _depart(keys: jax.Array, images: jax.Array, plan: Plan) -> State:
    def noisy(key: jax.Array, image: jax.Array) -> jax.Array:
        draws = (jax.random.normal(jax.random.fold_in(key, 2**31 - n), image.shape, image.dtype) for n in (1, 2))
        return image + sum(deviation * draw for deviation, draw in zip(plan.noise, draws, strict=True))

    z = jax.vmap(noisy)(keys, images)
    return State(z, z, jnp.zeros(z.shape, bool), jnp.full(len(z), jnp.nan, z.dtype))


def _follow(
    keys: jax.Array, prior: Prior, plan: Plan, state: State, first: jax.typing.ArrayLike, last: jax.typing.ArrayLike
) -> State:
    """Makes the moves first..last − 1."""
    plan = jax.tree.map(jnp.asarray, plan)
    thresholded = denoiser_of(prior, plan.dynamic_threshold)

    def predict(z: jax.Array, k: jax.Array) -> jax.Array:
        if plan.dynamic_threshold is None:
            return eps_at(prior, z, plan.sigma[k])
        raw, bounded = (lambda z, d=denoiser: eps_at(d, z, plan.sigma[k]) for denoiser in (prior, thresholded))
        return jax.lax.cond(plan.silent[k], raw, bounded, z)

    def clip(state: State, bound: jax.Array) -> State:
        return state.replace(z=jnp.clip(state.z, -bound, bound), clipped=state.clipped | (jnp.abs(state.z) > bound))

    def move(k: jax.Array, state: State) -> State:
        state = state.replace(z=jnp.where(k == plan.departure, plan.rescale * state.code, state.z))
        state = clip(state, plan.before[k])
        eps = predict(state.z, k)
        draw = lambda key: jax.random.normal(jax.random.fold_in(key, plan.draws[k]), state.z.shape[1:], state.z.dtype)  # noqa: E731
        squared = jnp.where(plan.corrects[k], jnp.mean(eps**2, axis=(1, 2, 3)), state.squared_eps)
        z = state.z + plan.a[k] * eps + plan.b[k] * jax.vmap(draw)(keys)
        state = clip(state.replace(z=z, squared_eps=squared), plan.after[k])
        return state.replace(code=jnp.where(k == plan.kept, state.z, state.code))

    return jax.lax.fori_loop(first, last, move, state)


@jax.jit
def _run(keys: jax.Array, prior: Prior, images: jax.Array, plan: Plan) -> State:
    return _follow(keys, prior, plan, _depart(keys, images, plan), 0, len(plan.sigma))


begin = jax.jit(_depart)
advance = jax.jit(_follow, donate_argnames="state")


def _finish(state: State, plan: Plan) -> EditResult:
    finite = jnp.all(jnp.isfinite(state.z), axis=(1, 2, 3))
    clipped = jnp.mean(state.clipped, axis=(1, 2, 3), dtype=jnp.float32)
    images = jnp.clip(state.z * plan.last, -1.0, 1.0)
    pixels = jnp.any(state.clipped, axis=-1)
    return EditResult(images, EditInfo(len(plan.sigma), clipped, state.squared_eps, finite, pixels))
