"""The probability-flow ODE alone: images to latents (DDIM inversion), latents to images, and there and back."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from code_jax.diffusion.probability_flow import noise_levels
from code_jax.diffusion.schedule import NoiseSchedule
from code_jax.editing.config import EditConfig, EditProgram, Number, canonical
from code_jax.editing.edit import check_images, denoiser_of
from code_jax.editing.route import Route, depart, follow, last_move, ode_moves, restart_move
from code_jax.priors.prior import Prior


def encode(
    prior: Prior, x0: jax.Array, *, depth: Number = 0.5, solver: str = "ddim", num_steps: int = 200, grid: str = "time",
    eta: Number | None = None, dynamic_threshold: tuple[Number, Number] | None = None,
) -> jax.Array:  # fmt: skip
    """x_t of images: the ODE dz/dσ = ε(√ᾱ z, t(σ)), z = x/√ᾱ, from σ_0 up to `depth`, with no noise added (DDIM inversion).

    Args:
        prior: whose ODE.
        x0: [B, H, W, C] floating, in [−1, 1].
        depth: noise level as a fraction of the training timesteps, in (0, 1]; a number or an array [].
        solver: "ddim" (Euler in σ; Song, Meng & Ermon 2021, equation 14), "heun", "midpoint", "tsit5" or "reversible_heun".
        num_steps: solver steps.
        grid: "time" (uniform in t), "geometric" (in log σ) or "rho" (in σ^(1/7)).
        eta: after every step x_t is clipped to ±(√ᾱ_t + η√(1 − ᾱ_t)); None clips nothing.
        dynamic_threshold: (quantile, s_max) of `DynamicThreshold`, or None.

    Returns:
        x_t [B, H, W, C] float32 in variance-preserving scale.

    Raises:
        UserError: names a setting out of its range, or images that do not fit the prior.

    Example:
        >>> import code_jax, jax.numpy as jnp
        >>> schedule = code_jax.linear_schedule()
        >>> eps = lambda params, x, t: x * jnp.sqrt(schedule.variance(t))[:, None, None, None]
        >>> prior = code_jax.Prior.from_function(eps, (), schedule, (8, 8, 3))  # N(0, I): the ODE keeps x as it is
        >>> x_t = code_jax.encode(prior, jnp.full((1, 8, 8, 3), 0.5), depth=0.4, num_steps=20, solver="heun")
        >>> round(float(x_t[0, 0, 0, 0]), 2)
        0.5
    """
    return _encode(prior, check_images(prior, x0), _settings(depth, solver, num_steps, grid, dynamic_threshold, eta))


def decode(
    prior: Prior, x_t: jax.Array, *, depth: Number = 0.5, solver: str = "ddim", num_steps: int = 200, grid: str = "time",
    dynamic_threshold: tuple[Number, Number] | None = None, final: bool = True,
) -> jax.Array:  # fmt: skip
    """Images of latents: the ODE of `encode` from `depth` down to σ_0.

    Args:
        prior: whose ODE.
        x_t: latents [B, H, W, C] in variance-preserving scale, at `depth`.
        depth, solver, num_steps, grid, dynamic_threshold: as in `encode`.
        final: adds the Euler step from σ_0 to 0, the predicted x_0; without it the result is what `encode` started from.

    Returns:
        Images [B, H, W, C] float32, near [−1, 1] and not clipped to it.

    Raises:
        UserError: names a setting out of its range, or latents that do not fit the prior.

    Example:
        >>> import code_jax, jax.numpy as jnp
        >>> schedule = code_jax.linear_schedule()
        >>> eps = lambda params, x, t: x * jnp.sqrt(schedule.variance(t))[:, None, None, None]
        >>> prior = code_jax.Prior.from_function(eps, (), schedule, (8, 8, 3))  # N(0, I): the ODE keeps x as it is
        >>> x0 = code_jax.decode(prior, jnp.full((1, 8, 8, 3), 0.5), depth=0.4, solver="heun", final=False)
        >>> round(float(x0[0, 0, 0, 0]), 2)
        0.5
    """
    return _decode(prior, check_images(prior, x_t), _settings(depth, solver, num_steps, grid, dynamic_threshold), final)


def round_trip(
    prior: Prior, x0: jax.Array, *, depth: Number = 0.5, solver: str = "reversible_heun", num_steps: int = 200,
    grid: str = "geometric", dynamic_threshold: tuple[Number, Number] | None = None,
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """`encode`, then `decode` to σ_0 with what the solver remembers of the way up.

    "reversible_heun" retraces its way exactly but for rounding, however few its steps (Kidger et al. 2021, section 3); the
    shadow that it needs is lost between `encode` and `decode`, whose round trip has a second-order error as Heun's has.

    Args:
        prior, x0, depth, solver, num_steps, grid, dynamic_threshold: as in `encode`.

    Returns:
        (x_t, x_0'): the latents in variance-preserving scale, and the images that they decode to, [B, H, W, C] float32 each.

    Raises:
        UserError: names a setting out of its range, or images that do not fit the prior.

    Example:
        >>> import code_jax, jax.numpy as jnp
        >>> schedule = code_jax.linear_schedule()
        >>> eps = lambda params, x, t: x * jnp.sqrt(schedule.variance(t))[:, None, None, None]
        >>> prior = code_jax.Prior.from_function(eps, (), schedule, (8, 8, 3))  # N(0, I): the ODE keeps x as it is
        >>> images = jnp.full((1, 8, 8, 3), 0.5)
        >>> x_t, again = code_jax.round_trip(prior, images, depth=0.4, num_steps=3)
        >>> bool(jnp.allclose(again, images, atol=1e-5))
        True
    """
    return _round_trip(prior, check_images(prior, x0), _settings(depth, solver, num_steps, grid, dynamic_threshold))


def _settings(
    depth: Number,
    solver: str,
    num_steps: int,
    grid: str,
    dynamic_threshold: tuple[Number, Number] | None,
    eta: Number | None = None,
) -> EditConfig:
    program = EditProgram(num_steps=num_steps, solver=solver, grid=grid)
    return canonical(EditConfig(depth=depth, eta=eta, dynamic_threshold=dynamic_threshold, program=program))


@jax.jit
def _encode(prior: Prior, x0: jax.Array, config: EditConfig) -> jax.Array:
    (route, sigma), denoiser = _leg_up(prior.schedule, config), denoiser_of(prior, config.dynamic_threshold)
    z = follow(_no_keys(x0), denoiser, route, depart(x0, None, route.solver), 0, len(route.kinds)).z
    return z * jax.lax.rsqrt(1 + sigma**2)


@functools.partial(jax.jit, static_argnums=3)
def _decode(prior: Prior, x_t: jax.Array, config: EditConfig, final: bool) -> jax.Array:
    sigmas = _levels_down(prior.schedule, config)
    route = restart_move(sigmas[0], config.program.solver) + ode_moves(sigmas, config.program.solver)
    route = route + last_move(sigmas[-1], config.program.solver) if final else route
    travel = depart(x_t * jnp.sqrt(1 + sigmas[0] ** 2), None, route.solver)
    return follow(_no_keys(x_t), denoiser_of(prior, config.dynamic_threshold), route, travel, 0, len(route.kinds)).z


@jax.jit
def _round_trip(prior: Prior, x0: jax.Array, config: EditConfig) -> tuple[jax.Array, jax.Array]:
    keys, denoiser, (up, sigma) = _no_keys(x0), denoiser_of(prior, config.dynamic_threshold), _leg_up(prior.schedule, config)
    there = follow(keys, denoiser, up, depart(x0, None, up.solver), 0, len(up.kinds))
    down = ode_moves(_levels_down(prior.schedule, config), up.solver)
    back = follow(keys, denoiser, down, there, 0, len(down.kinds))
    return there.z * jax.lax.rsqrt(1 + sigma**2), back.z


def _leg_up(schedule: NoiseSchedule, config: EditConfig) -> tuple[Route, jax.Array]:
    """The route from σ_0 up to the depth, and the σ there."""
    program = config.program
    sigmas = noise_levels(schedule, 0.0, schedule.timestep(config.depth), program.num_steps, program.grid)
    return restart_move(sigmas[0], program.solver) + ode_moves(sigmas, program.solver, config.eta), sigmas[-1]


def _levels_down(schedule: NoiseSchedule, config: EditConfig) -> jax.Array:
    program = config.program
    return noise_levels(schedule, schedule.timestep(config.depth), 0.0, program.num_steps, program.grid)


def _no_keys(images: jax.Array) -> jax.Array:
    return jax.random.split(jax.random.key(0), images.shape[0])
