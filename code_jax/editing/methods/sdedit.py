"""SDEdit (Meng et al. 2022, algorithm 1): noise of a level, then ancestral steps (DDIM with η = 1) to 0.

With as many steps as timesteps below the level this is the original algorithm.
"""

from __future__ import annotations

from collections.abc import Callable

import jax

from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.levels import noise_levels
from code_jax.editing.methods import Row
from code_jax.editing.methods.code import config_method
from code_jax.editing.moves import ancestral_moves, last_move
from code_jax.editing.route import Route
from code_jax.editing.settings import EditConfig

_OPTIONS = ("preset", "sigma", "depth", "num_steps", "grid", "dynamic_threshold", "guidance")


def _start(
    config: EditConfig, denoiser: Denoiser, images: jax.Array, draw: Callable[[int], jax.Array]
) -> tuple[jax.Array, jax.Array]:
    sigma = config.sigma[:, 0, None, None, None].astype(images.dtype)
    return images + sigma * draw(1), sigma


def _route(config: EditConfig, denoiser: Denoiser) -> Route:
    program, low = config.program, denoiser.sigma_range[0]
    sigmas = noise_levels(denoiser, config.sigma[0], low, program.num_steps, program.grid)
    return ancestral_moves(sigmas, program.solver) + last_move(sigmas[-1], program.solver)


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
