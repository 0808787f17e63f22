"""Training as pure functions: the loss, one optimizer step, and the moving average of the weights."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jaxtyping import Array, Float, Int, Key, UInt8

from code_jax.diffusion.parameterization import target, weight_min_snr
from code_jax.diffusion.schedule import NoiseSchedule
from code_jax.shapes import Images, PerImage, Scalar
from code_jax.training.recipe import Recipe

Params = Any
Apply = Callable[..., Images]
Squares = Float[Array, "batch side side channels"]


class TrainState(flax.struct.PyTreeNode):
    """Everything that a restart needs: weights, their moving average, optimizer state and the number of steps done."""

    params: Params
    ema: Params
    opt_state: optax.OptState
    step: Int[Array, ""]


def optimizer(recipe: Recipe) -> optax.GradientTransformation:
    """AdamW on clipped gradients, or Muon for hidden matrices beside it, at unit learning rate: `train_step` scales the update.

    Muon (Jordan et al. 2024) with updates of AdamW's size (Liu et al. 2025, arXiv 2502.16982, equation 4): the direction
    U S Vᵀ of a matrix [inputs, outputs], momentum 0.95 with Nesterov's step, becomes nearly U Vᵀ times
    0.2 √max(inputs, outputs). optax keeps the momentum as a bias-corrected mean where the paper's program sums; the direction,
    which alone counts, is the same but for the first steps.
    """
    scale = optax.scale_by_adam(b2=0.99)
    if recipe.optimizer == "muon":
        hidden = optax.chain(optax.contrib.scale_by_muon(weight_dimension_numbers=_matrices), optax.stateless(_of_adams_size))
        scale = optax.partition({"hidden": hidden, "other": scale}, _kinds)
    return optax.chain(
        optax.clip_by_global_norm(recipe.clip_norm),
        scale,
        optax.add_decayed_weights(recipe.weight_decay),
    )


def _kinds(params: Params) -> Any:
    """Which weights are hidden matrices: all products and convolutions but the first and the last."""

    def kind(path: tuple[Any, ...], weight: jax.Array) -> str:
        outer = jax.tree_util.keystr(path[:1], simple=True) in ("conv_in", "conv_out")
        return "hidden" if weight.ndim >= 2 and not outer else "other"

    return jax.tree_util.tree_map_with_path(kind, params)


def _matrices(updates: Params) -> Any:
    """Each weight [..., outputs] as a matrix [inputs, outputs]: a convolution's window counts as inputs."""
    return jax.tree.map(lambda x: optax.contrib.MuonDimensionNumbers(tuple(range(x.ndim - 1)), x.ndim - 1), updates)


def _of_adams_size(updates: Params, params: Params | None = None) -> Params:
    return jax.tree.map(lambda x: 0.2 * max(x.size // x.shape[-1], x.shape[-1]) ** 0.5 * x, updates)


def learning_rate(recipe: Recipe, step: Int[Array, ""]) -> Scalar:
    """The learning rate of a step: a linear warm-up to the peak, then down to zero at `recipe.steps`. float32 [].

    It falls as a cosine from the warm-up on, or with `recipe.hold` linearly from that share of the steps on.
    """
    warm = jnp.minimum((step + 1) / max(recipe.warmup, 1), 1.0)
    first = recipe.warmup if recipe.hold is None else recipe.hold * recipe.steps
    done = jnp.clip((step - first) / max(recipe.steps - first, 1), 0, 1)
    left = 0.5 * (1 + jnp.cos(jnp.pi * done)) if recipe.hold is None else 1 - done
    return (recipe.learning_rate * warm * left).astype(jnp.float32)


def draw_timesteps(key: Key[Array, ""], count: int, num_timesteps: int, lower_half: float) -> PerImage:
    """Whole timesteps, a share `lower_half` of them in the lower half of 0..T − 1, uniform within each half. float32 [count].

    Example:
        >>> t = draw_timesteps(jax.random.key(0), 1000, 1000, 0.85)
        >>> abs(float(jnp.mean(t < 500)) - 0.85) < 0.05
        True
    """
    half, within = jax.random.split(key)
    lower, middle = jax.random.bernoulli(half, lower_half, (count,)), num_timesteps // 2
    t = jax.random.randint(within, (count,), jnp.where(lower, 0, middle), jnp.where(lower, middle, num_timesteps))
    return t.astype(jnp.float32)


def loss(
    apply: Apply, recipe: Recipe, params: Params, schedule: NoiseSchedule, x0: Images, t: PerImage, noise: Images
) -> PerImage:
    """Weighted squared error of each image (Ho et al. 2020, equation 14; Hang et al. 2023 for min-SNR weights).

    Args:
        apply: ``(params, x, t) -> output`` of the network.
        recipe: its `prediction_type` says what the output is compared with, `min_snr_gamma` how it is weighted.
        params: the network's.
        schedule: of the noise.
        x0: images [B, H, W, C] in [−1, 1].
        t: float timesteps [B] in [0, T − 1].
        noise: n ~ N(0, I), shaped as x0.

    Returns:
        float32 [B].

    Example:
        >>> from code_jax.diffusion.schedule import linear_schedule
        >>> recipe = Recipe(prediction_type="epsilon", min_snr_gamma=None)
        >>> x0 = jnp.zeros((1, 2, 2, 1))
        >>> loss(lambda params, x, t: 0 * x, recipe, (), linear_schedule(), x0, jnp.array([10.0]), x0 + 2).tolist()
        [4.0]
    """
    sigma = schedule.sigma(t)[:, None, None, None]
    x = (x0 + sigma * noise) * jax.lax.rsqrt(1 + sigma**2)
    error = apply(params, x, t) - target(recipe.prediction_type, x0, noise, sigma)
    error = jnp.mean(error**2, axis=(1, 2, 3))
    if recipe.min_snr_gamma is None:
        return error
    return error * weight_min_snr(recipe.prediction_type, sigma[:, 0, 0, 0], recipe.min_snr_gamma)


def augment(key: Key[Array, ""], x: Squares, kind: str) -> Squares:
    """Random symmetries of each image [B, N, N, C]: "none", "flips" (left-right), or "turns" (all eight of the square)."""
    flip, turn = jax.random.split(key)
    shape = (x.shape[0], 1, 1, 1)
    if kind != "none":
        x = jnp.where(jax.random.bernoulli(flip, shape=shape), x[:, :, ::-1], x)
    if kind == "turns":
        turns = jax.random.bernoulli(turn, shape=(2, *shape))
        x = jnp.where(turns[0], x[:, ::-1], x)
        x = jnp.where(turns[1], x.swapaxes(1, 2), x)
    return x


def ema_update(ema: Params, params: Params, step: Int[Array, ""], decay: float) -> Params:
    """ema ← d·ema + (1 − d)·params with d = min(decay, (1 + step)/(10 + step)), so that the start is forgotten.

    Args:
        ema, params: pytrees of arrays of the same shapes.
        step: how many were made. int [].
        decay: d's largest value, in [0, 1).

    Returns:
        The next ema.

    Example:
        >>> round(float(ema_update(jnp.float32(1.0), jnp.float32(0.0), jnp.int32(0), 0.999)), 4)
        0.1
    """
    kept = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda old, new: kept * old + (1 - kept) * new, ema, params)


def init_state(recipe: Recipe, params: Params) -> TrainState:
    """The state before the first step."""
    return TrainState(params, jax.tree.map(jnp.copy, params), optimizer(recipe).init(params), jnp.int32(0))


def train_step(
    apply: Apply, recipe: Recipe, key: Key[Array, ""], state: TrainState, schedule: NoiseSchedule,
    images: UInt8[Array, "batch side side channels"],
) -> tuple[TrainState, Scalar]:  # fmt: skip
    """One step of the optimizer and of the moving average, at random timesteps (Ho et al. 2020, algorithm 1).

    Args:
        apply, recipe: static: the network ``(params, x, t, dropout_key=key) -> output``, and what to do.
        key: of the whole training; folded with the step.
        state, schedule: where the training is, and the noise schedule.
        images: uint8 [B, N, N, C].

    Returns:
        The next state, and the mean loss [].

    Example:
        >>> from code_jax.diffusion.schedule import linear_schedule
        >>> recipe, images = Recipe(prediction_type="sample", warmup=1), jnp.full((4, 2, 2, 1), 255, jnp.uint8)
        >>> state = init_state(recipe, jnp.float32(0.0))
        >>> apply = lambda params, x, t, dropout_key: params + 0 * x  # one number for every pixel, which should be 1
        >>> for _ in range(3):
        ...     state, _ = train_step(apply, recipe, jax.random.key(0), state, linear_schedule(), images)
        >>> bool(state.params > 0)
        True
    """
    turns, times, noises, dropout = jax.random.split(jax.random.fold_in(key, state.step), 4)
    x0 = augment(turns, images.astype(jnp.float32) / 127.5 - 1, recipe.augment)
    t = draw_timesteps(times, len(x0), schedule.num_timesteps, recipe.lower_half)
    noise = jax.random.normal(noises, x0.shape)
    network = functools.partial(apply, dropout_key=dropout)
    value, grads = jax.value_and_grad(lambda p: jnp.mean(loss(network, recipe, p, schedule, x0, t, noise)))(state.params)
    updates, opt_state = optimizer(recipe).update(grads, state.opt_state, state.params)
    rate = learning_rate(recipe, state.step)
    params = optax.apply_updates(state.params, jax.tree.map(lambda u: -rate * u, updates))
    return TrainState(params, ema_update(state.ema, params, state.step, recipe.ema_decay), opt_state, state.step + 1), value
