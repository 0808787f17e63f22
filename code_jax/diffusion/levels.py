"""Noise levels: sequences of σ that the probability-flow ODE is stepped along.

A grid is a function ``(schedule, σ_from, σ_to, share) -> σ``: share runs evenly from 0 to 1, its ends are the two levels.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.schedule import NoiseSchedule, linear_schedule
from code_jax.errors import UserError, choose
from code_jax.shapes import Scalar, Values

_RHO = 7.0

Levels = Float[Array, " levels"]
Grid = Callable[[NoiseSchedule | None, Scalar, Scalar, Levels], Levels]


def time_grid(schedule: NoiseSchedule | None, sigma_from: Scalar, sigma_to: Scalar, share: Levels) -> Levels:
    """Uniform in the training timesteps; of a denoiser that has none, in those of DDPM's linear schedule."""
    schedule = linear_schedule() if schedule is None else schedule
    first, last = schedule.t_of_sigma(sigma_from), schedule.t_of_sigma(sigma_to)
    return schedule.sigma(first + (last - first) * share)


def geometric_grid(schedule: NoiseSchedule | None, sigma_from: Scalar, sigma_to: Scalar, share: Levels) -> Levels:
    """Uniform in log σ."""
    first, last = jnp.log(sigma_from), jnp.log(sigma_to)
    return jnp.exp(first + (last - first) * share)


def rho_grid(schedule: NoiseSchedule | None, sigma_from: Scalar, sigma_to: Scalar, share: Levels) -> Levels:
    """Uniform in σ^(1/7) (Karras et al. 2022, EDM, equation 5 with ρ = 7)."""
    first, last = sigma_from ** (1 / _RHO), sigma_to ** (1 / _RHO)
    return (first + (last - first) * share) ** _RHO


GRIDS: dict[str, Grid] = {"time": time_grid, "geometric": geometric_grid, "rho": rho_grid}


def noise_levels(denoiser: Denoiser, sigma_from: ScalarLike, sigma_to: ScalarLike, num_steps: int, grid: str) -> Levels:
    """σ [num_steps + 1] from one level to another, both exactly, along a grid in `GRIDS`.

    Raises:
        UserError: for an unknown grid.
    """
    spaced = choose("grid", grid, GRIDS)
    sigma_from, sigma_to = jnp.asarray(sigma_from, float), jnp.asarray(sigma_to, float)
    share = jnp.arange(1, num_steps) / num_steps
    between = spaced(denoiser.schedule, sigma_from, sigma_to, share.astype(sigma_from.dtype))
    return jnp.concatenate([sigma_from[None], between, sigma_to[None]])


def sigma_of_depth(denoiser: Denoiser, depth: Values) -> Float[Array, "*shape"]:
    """σ of a depth in (0, 1], the noise level as a fraction of the training timesteps; capped as `sigma_range` is.

    Raises:
        UserError: for a denoiser without timesteps.
    """
    schedule = timesteps_of(denoiser, "depth", "sigma")
    return schedule.sigma(schedule.timestep(depth))


def timesteps_of(denoiser: Denoiser, name: str, instead: str) -> NoiseSchedule:
    """The schedule of a denoiser; raises UserError where it has no timesteps, which `name` is stated in."""
    if denoiser.schedule is None:
        raise UserError(f"{name} is stated in training timesteps, which this prior has none of; give {instead}")
    return denoiser.schedule
