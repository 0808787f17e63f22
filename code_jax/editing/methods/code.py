"""CODE (van Delft, Martorella & Alahi 2024, algorithm 1): encode and clip, climb in likelihood, decode."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.levels import noise_levels
from code_jax.diffusion.solvers import find_solver
from code_jax.editing.methods import Method, Row
from code_jax.editing.moves import anneal, langevin_moves, last_move, ode_moves, start_move
from code_jax.editing.presets import configured
from code_jax.editing.route import Route
from code_jax.editing.settings import EditConfig, canonical, describe, excess, finer
from code_jax.errors import UserError
from code_jax.shapes import Images, Level

OPTIONS = (
    "preset", "sigma", "depth", "relative_step", "step_size", "eta", "langevin_steps", "num_steps", "anneal_rate",
    "anneal_levels", "langevin", "solver", "grid", "input_noise", "dynamic_threshold", "guidance",
)  # fmt: skip


def noisy_start(config: EditConfig, denoiser: Denoiser, images: Images, draw: Callable[[int], Images]) -> tuple[Images, Level]:
    """The images with `input_noise`·σ_0 of noise, at σ_0."""
    sigma = jnp.broadcast_to(denoiser.sigma_range[0].astype(images.dtype), (len(images), 1, 1, 1))
    return images + config.input_noise[:, None, None, None] * sigma * draw(1), sigma


def way_up(config: EditConfig, denoiser: Denoiser) -> Route:
    """From σ_0 to the deepest level, clipped after every step."""
    program = config.program
    sigmas = noise_levels(denoiser, denoiser.sigma_range[0], config.sigma[0], program.num_steps, program.grid)
    return start_move(sigmas[0], program.solver) + ode_moves(sigmas, program.solver, config.eta)


def moves_up(config: EditConfig) -> int:
    """Of `way_up`."""
    return config.program.num_steps + find_solver(config.program.solver).reversible


def _route(config: EditConfig, denoiser: Denoiser) -> Route:
    program, low = config.program, denoiser.sigma_range[0]
    route, count = way_up(config, denoiser), len(config.sigma)
    rates = anneal(config.anneal_rate, program.langevin_steps, program.anneal_levels)
    levels = functools.partial(noise_levels, denoiser, num_steps=-(-program.num_steps // count), grid=program.grid)
    for level in range(count):
        sigma = config.sigma[level]
        if program.langevin_steps:
            route += langevin_moves(sigma, config.relative_step[level] * rates, program.langevin, program.solver)
            route += start_move(sigma, program.solver)
        route += ode_moves(levels(sigma, config.sigma[level + 1] if level + 1 < count else low), program.solver)
    return route + last_move(low.astype(route.sigma.dtype), program.solver)


def _warn(config: EditConfig, denoiser: Denoiser) -> tuple[str, ...]:
    beyond = excess(config)
    return (() if beyond is None else (beyond,)) + without_range(config, denoiser)


def without_range(config: EditConfig, denoiser: Denoiser) -> tuple[str, ...]:
    """What to say of clipping to a range that is not known."""
    if np.all(np.isfinite(denoiser.data_range)) or not np.any(np.isfinite(config.eta)):
        return ()
    measure = "code-jax convert PRIOR FOLDER --measure PICTURES"
    return (f"eta clips nothing: the range of this prior's latents is not measured ({measure} makes a prior that has it)",)


def config_method(
    name: str, about: str, options: tuple[str, ...], defaults: dict[str, Any], *, levels: float = 1, **rest: Any
) -> Method:  # fmt: skip
    """A method whose settings are an `EditConfig`; `defaults` are values by option, and it takes at most so many levels."""
    configure = lambda values: configured(name, values, **defaults)  # noqa: E731

    def checked(config: EditConfig, denoiser: Denoiser) -> EditConfig:
        found = canonical(config, denoiser)
        if np.shape(found.sigma)[-1] > levels:
            raise UserError(f"{np.shape(found.sigma)[-1]} noise levels for the method {name}, which has {levels}; give one")
        return found

    return Method(name, about, options, configure, describe, checked, finer=finer, **rest)


METHOD = config_method(
    "code",
    "encode and clip, climb in likelihood, decode (van Delft et al. 2024)",
    OPTIONS,
    {},
    levels=math.inf,
    start=noisy_start,
    route=_route,
    up=moves_up,
    upward=("sigma", "eta", "input_noise", "guidance"),
    warn=_warn,
    rows={"code-cbc": Row("CODE without CBC", {"eta": math.inf}), "code": Row("CODE", base="code-cbc")},
)
