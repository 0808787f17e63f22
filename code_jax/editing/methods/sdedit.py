"""SDEdit (Meng et al. 2022, algorithm 1): noise of a level, then ancestral steps (DDIM with η = 1) to 0; all of it K times.

With as many steps as timesteps below the level this is the original algorithm. Those are the steps of the solver "ddim"; another
takes the noise away along the probability-flow ODE.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp

from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.levels import noise_levels
from code_jax.editing.methods import Row
from code_jax.editing.methods.code import config_method
from code_jax.editing.moves import ancestral_moves, last_move, noise_move, ode_moves, start_move
from code_jax.editing.route import Route
from code_jax.editing.settings import EditConfig
from code_jax.shapes import Images, Level

_OPTIONS = ("preset", "sigma", "depth", "num_steps", "repeats", "solver", "grid", "dynamic_threshold", "guidance")


def _start(config: EditConfig, denoiser: Denoiser, images: Images, draw: Callable[[int], Images]) -> tuple[Images, Level]:
    sigma = config.sigma[:, 0, None, None, None].astype(images.dtype)
    return images + sigma * draw(1), sigma


def _route(config: EditConfig, denoiser: Denoiser) -> Route:
    program, low = config.program, denoiser.sigma_range[0]
    sigmas = noise_levels(denoiser, config.sigma[0], low, program.num_steps, program.grid)
    if program.solver == "ddim":
        down = ancestral_moves(sigmas, program.solver)
    else:
        down = start_move(sigmas[0], program.solver) + ode_moves(sigmas, program.solver)
    route = once = down + last_move(sigmas[-1], program.solver)
    for _ in range(program.repeats - 1):
        route += noise_move(jnp.zeros_like(sigmas[0]), sigmas[0], program.solver) + once
    return route


METHOD = config_method(
    "sdedit",
    "noise of a level, taken away step by step (Meng et al. 2022)",
    _OPTIONS,
    {"num_steps": 20},
    start=_start,
    route=_route,
    up=lambda config: 0,
    upward=("sigma",),
    rows={"sdedit": Row("SDEdit")},
)
