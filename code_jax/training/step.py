"""Training as pure functions: the loss, one optimizer step, and the moving average of the weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from code_jax.diffusion.parameterization import target, weight_min_snr
from code_jax.diffusion.schedule import NoiseSchedule

Params = Any
Apply = Callable[[Params, jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What changes the compiled training step.

    Attributes:
        prediction_type: "epsilon", "v_prediction" or "sample".
        min_snr_gamma: γ of min-SNR weighting; None is the plain squared error.
        learning_rate: peak; the schedule is a linear warm-up, then a cosine to zero.
        warmup: share of the training spent warming up.
        weight_decay, clip_norm: of AdamW, and the global norm that gradients are clipped to.
        ema_decay: decay of the moving average once warmed up.
        quarter_turns: augment by the eight symmetries of the square instead of left-right flips alone.
    """

    prediction_type: str = "v_prediction"
    min_snr_gamma: float | None = 5.0
    learning_rate: float = 1e-3
    warmup: float = 0.02
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    quarter_turns: bool = True


class TrainState(flax.struct.PyTreeNode):
    """Everything that a restart needs: weights, their moving average, optimizer state and the number of steps done."""

    params: Params
    ema: Params
    opt_state: optax.OptState
    step: jax.Array


def optimizer(recipe: Recipe) -> optax.GradientTransformation:
    """AdamW on clipped gradients, at unit learning rate: `train_step` scales the update."""
    return optax.chain(
        optax.clip_by_global_norm(recipe.clip_norm),
        optax.scale_by_adam(b2=0.99),
        optax.add_decayed_weights(recipe.weight_decay),
    )


def learning_rate(recipe: Recipe, progress: float) -> float:
    """The learning rate at `progress` in [0, 1] of the training."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, recipe.learning_rate, max(int(recipe.warmup * 10_000), 1), 10_000)
    return float(schedule(int(progress * 10_000)))


def loss(
    apply: Apply, recipe: Recipe, params: Params, schedule: NoiseSchedule, x0: jax.Array, t: jax.Array, noise: jax.Array
) -> jax.Array:
    """Weighted squared error of each image, [B], at timesteps t [B] with the given noise (Ho et al. 2020, equation 14)."""
    sigma = schedule.sigma(t)[:, None, None, None]
    x = (x0 + sigma * noise) * jax.lax.rsqrt(1 + sigma**2)
    error = apply(params, x, t) - target(recipe.prediction_type, x0, noise, sigma)
    error = jnp.mean(error**2, axis=(1, 2, 3))
    if recipe.min_snr_gamma is None:
        return error
    return error * weight_min_snr(recipe.prediction_type, sigma[:, 0, 0, 0], recipe.min_snr_gamma)


def augment(key: jax.Array, x: jax.Array, quarter_turns: bool) -> jax.Array:
    """Random flips of each image [B, N, N, C]; with `quarter_turns` all eight symmetries of the square."""
    flip, turn = jax.random.split(key)
    shape = (x.shape[0], 1, 1, 1)
    x = jnp.where(jax.random.bernoulli(flip, shape=shape), x[:, :, ::-1], x)
    if quarter_turns:
        turns = jax.random.bernoulli(turn, shape=(2, *shape))
        x = jnp.where(turns[0], x[:, ::-1], x)
        x = jnp.where(turns[1], x.swapaxes(1, 2), x)
    return x


def ema_update(ema: Params, params: Params, step: jax.Array, decay: float) -> Params:
    """ema ← d·ema + (1 − d)·params with d = min(decay, (1 + step)/(10 + step)), so that the start is forgotten."""
    kept = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda old, new: kept * old + (1 - kept) * new, ema, params)


def train_step(
    apply: Apply, recipe: Recipe, key: jax.Array, state: TrainState, schedule: NoiseSchedule, images: jax.Array, rate: jax.Array
) -> tuple[TrainState, jax.Array]:
    """One step on images uint8 [B, N, N, C] at learning rate `rate`; the key is folded with the step. Returns the mean loss."""
    turns, times, noises = jax.random.split(jax.random.fold_in(key, state.step), 3)
    x0 = augment(turns, images.astype(jnp.float32) / 127.5 - 1, recipe.quarter_turns)
    t = jax.random.randint(times, (x0.shape[0],), 0, schedule.num_timesteps).astype(jnp.float32)
    noise = jax.random.normal(noises, x0.shape)
    value, grads = jax.value_and_grad(lambda p: jnp.mean(loss(apply, recipe, p, schedule, x0, t, noise)))(state.params)
    updates, opt_state = optimizer(recipe).update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, jax.tree.map(lambda u: -rate * u, updates))
    return TrainState(params, ema_update(state.ema, params, state.step, recipe.ema_decay), opt_state, state.step + 1), value
