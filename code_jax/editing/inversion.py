"""The probability-flow ODE alone: images to latents (DDIM inversion), latents to images, and there and back."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from code_jax.devices.flags import own_flags
from code_jax.devices.one_by_one import apart
from code_jax.diffusion.codec import decoded, encoded, latent_shape
from code_jax.diffusion.denoiser import Condition, Denoiser
from code_jax.diffusion.levels import noise_levels
from code_jax.diffusion.thresholding import thresholded
from code_jax.editing.conditions import check_condition
from code_jax.editing.images import check_images, check_range
from code_jax.editing.methods.code import way_up
from code_jax.editing.moves import last_move, ode_moves, start_move
from code_jax.editing.route import Route, State, init, run
from code_jax.editing.settings import EditConfig, EditProgram, Number, canonical
from code_jax.errors import UserError
from code_jax.shapes import GivenImages, GivenLatents, Images, Latents, Scalar


@own_flags()
def encode(
    prior: Denoiser, x0: GivenImages, *, depth: Number | None = None, sigma: Number | None = None, solver: str = "ddim",
    num_steps: int = 200, grid: str = "time", eta: Number | None = None,
    dynamic_threshold: tuple[Number, Number] | None = None, condition: Condition = None,
) -> Latents:  # fmt: skip
    """x_t of images: the ODE dz/dσ = ε(√ᾱ z, t(σ)), z = x/√ᾱ, from σ_0 up to `depth`, with no noise added (DDIM inversion).

    Args:
        prior: whose ODE.
        x0: [B, H, W, C] floating, in [−1, 1].
        depth: noise level as a fraction of the training timesteps, in (0, 1]; a number or an array []. 0.5 if there is no σ.
        sigma: the same as σ.
        solver: "ddim" (Euler in σ; Song, Meng & Ermon 2021, equation 14), "heun", "midpoint", "tsit5", "reversible_heun",
            "adams_bashforth" or "dpm++2m".
        num_steps: solver steps.
        grid: "time" (uniform in t), "geometric" (in log σ) or "rho" (in σ^(1/7)).
        eta: after every step x_t is clipped to ±(√ᾱ_t + η√(1 − ᾱ_t)); None clips nothing.
        dynamic_threshold: (quantile, s_max) of `DynamicThreshold`, or None.
        condition: as in `edit`.

    Returns:
        x_t [B, H, W, C] float32 in variance-preserving scale; of a latent prior, of latents.

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
    config = _settings(prior, solver, num_steps, grid, {"depth": depth, "sigma": sigma}, dynamic_threshold, eta)
    x0 = check_range(prior, check_images(prior, x0))
    return _encode(apart(prior, x0), x0, config, check_condition(prior, condition, len(x0)))


@own_flags()
def decode(
    prior: Denoiser, x_t: GivenLatents, *, depth: Number | None = None, sigma: Number | None = None, solver: str = "ddim",
    num_steps: int = 200, grid: str = "time", dynamic_threshold: tuple[Number, Number] | None = None,
    condition: Condition = None, final: bool = True,
) -> Images:  # fmt: skip
    """Images of latents: the ODE of `encode` from `depth` down to σ_0.

    Args:
        prior: whose ODE.
        x_t: latents [B, H, W, C] in variance-preserving scale, at `depth`.
        depth, sigma, solver, num_steps, grid, dynamic_threshold, condition: as in `encode`.
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
    config = _settings(prior, solver, num_steps, grid, {"depth": depth, "sigma": sigma}, dynamic_threshold)
    x_t = check_images(prior, x_t, latent_shape(prior))
    return _decode(apart(prior, x_t), x_t, config, check_condition(prior, condition, len(x_t)), final)


@own_flags()
def round_trip(
    prior: Denoiser, x0: GivenImages, *, depth: Number | None = None, sigma: Number | None = None,
    solver: str = "reversible_heun", num_steps: int = 200, grid: str = "geometric",
    dynamic_threshold: tuple[Number, Number] | None = None, condition: Condition = None,
) -> tuple[Latents, Images]:  # fmt: skip
    """`encode`, then `decode` to σ_0 with what the solver remembers of the way up.

    "reversible_heun" retraces its way exactly but for rounding, however few its steps (Kidger et al. 2021, section 3); the
    shadow that it needs is lost between `encode` and `decode`, whose round trip has a second-order error as Heun's has.

    Args:
        prior, x0, depth, sigma, solver, num_steps, grid, dynamic_threshold, condition: as in `encode`.

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
    config = _settings(prior, solver, num_steps, grid, {"depth": depth, "sigma": sigma}, dynamic_threshold)
    x0 = check_range(prior, check_images(prior, x0))
    return _round_trip(apart(prior, x0), x0, config, check_condition(prior, condition, len(x0)))


def _settings(
    prior: Denoiser, solver: str, num_steps: int, grid: str, levels: Mapping[str, Number | None],
    threshold: tuple[Number, Number] | None, eta: Number | None = None,
) -> EditConfig:  # fmt: skip
    program = EditProgram(num_steps=num_steps, solver=solver, grid=grid)
    for name, value in levels.items():
        if value is not None and np.ndim(value):  # of a tracer, too
            raise UserError(f"{name} has shape {np.shape(value)}; it must be one number")
    if levels["sigma"] is None and levels["depth"] is None:
        levels = {"depth": 0.5}
    return canonical(EditConfig(eta=eta, dynamic_threshold=threshold, program=program, **levels), prior)


@jax.jit
def _encode(prior: Denoiser, x0: Images, config: EditConfig, condition: Condition) -> Latents:
    z = encoded(prior, x0)
    (state,) = _followed(prior, config, condition, way_up(config, prior), z, prior.sigma_range[0])
    return state.z * jax.lax.rsqrt(1 + state.sigma**2)


@functools.partial(jax.jit, static_argnums=4)
def _decode(prior: Denoiser, x_t: Latents, config: EditConfig, condition: Condition, final: bool) -> Images:
    sigma, solver = config.sigma[0], config.program.solver
    route = start_move(sigma, solver) + _way_down(config, prior)
    route = route + last_move(route.sigma_next[-1], solver) if final else route
    (state,) = _followed(prior, config, condition, route, (x_t * jnp.sqrt(1 + sigma**2)).astype(x_t.dtype), sigma)
    return decoded(prior, state.z)


@jax.jit
def _round_trip(prior: Denoiser, x0: Images, config: EditConfig, condition: Condition) -> tuple[Latents, Images]:
    up, z = way_up(config, prior), encoded(prior, x0)
    there, back = _followed(prior, config, condition, up + _way_down(config, prior), z, prior.sigma_range[0], len(up.kinds))
    return there.z * jax.lax.rsqrt(1 + there.sigma**2), decoded(prior, back.z)


def _way_down(config: EditConfig, prior: Denoiser) -> Route:
    program = config.program
    levels = noise_levels(prior, config.sigma[0], prior.sigma_range[0], program.num_steps, program.grid)
    return ode_moves(levels, program.solver)


def _followed(
    prior: Denoiser, config: EditConfig, condition: Condition, route: Route, z: Images, sigma: Scalar, *stops: int
) -> list[State]:
    """The states at the stops and at a route's end, of all images alike and without noise."""
    route = jax.tree.map(lambda column: jnp.broadcast_to(column, (len(z), *column.shape)), route)
    keys, denoiser = jax.random.split(jax.random.key(0), len(z)), thresholded(prior, config.dynamic_threshold)
    projections = route.projections(prior, None)
    states = [init(z, jnp.broadcast_to(sigma, (len(z), 1, 1, 1)).astype(z.dtype), route, projections)]
    for first, last in itertools.pairwise((0, *stops, len(route.kinds))):
        states.append(run(keys, denoiser, route, projections, states[-1], first, last, condition))
    return states[1:]
