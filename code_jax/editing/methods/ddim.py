"""The DDIM round trip (Song, Meng & Ermon 2021): up the probability-flow ODE and down again, with no correction."""

from __future__ import annotations

import math

from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.levels import noise_levels
from code_jax.editing.methods import Row
from code_jax.editing.methods.code import config_method, moves_up, noisy_start, way_up, without_range
from code_jax.editing.moves import last_move, ode_moves
from code_jax.editing.route import Route
from code_jax.editing.settings import EditConfig

_OPTIONS = (
    "preset", "sigma", "depth", "eta", "num_steps", "solver", "grid", "input_noise", "dynamic_threshold", "guidance",
)  # fmt: skip


def _route(config: EditConfig, denoiser: Denoiser) -> Route:
    program, low = config.program, denoiser.sigma_range[0]
    down = noise_levels(denoiser, config.sigma[0], low, program.num_steps, program.grid)
    return way_up(config, denoiser) + ode_moves(down, program.solver) + last_move(down[-1], program.solver)


METHOD = config_method(
    "ddim",
    "through the latent and back, with no correction (Song et al. 2021)",
    _OPTIONS,
    {},
    start=noisy_start,
    route=_route,
    up=moves_up,
    upward=("sigma", "eta", "input_noise", "guidance"),
    warn=without_range,
    rows={"ddim": Row("DDIM round trip", {"eta": math.inf}), "ddim+cbc": Row("DDIM + CBC", base="ddim")},
)
