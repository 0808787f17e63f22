"""DreamClean (Xiao et al. 2024, ICLR): up by DDIM inversion, then down with variance-preserving sampling at every level.

Their step (equation 9) is x ← x + γ(1 − ᾱ)·score + √(γ(2 − γ)(1 − ᾱ))·n, which is `langevin_coefficients`' "variance_preserving"
with 2r = γ(2 − γ). They take M = 1, and 90 evaluations an image: 30 steps up and 30 down, of 100 for all timesteps. γ is stated
in no text that was at hand; r = 0.05 is γ = 0.051.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.levels import noise_levels
from code_jax.editing.methods import Row
from code_jax.editing.methods.code import config_method, moves_up
from code_jax.editing.moves import langevin_moves, last_move, ode_moves, start_move
from code_jax.editing.route import Route
from code_jax.editing.settings import EditConfig
from code_jax.shapes import Images, Level

_OPTIONS = ("sigma", "depth", "relative_step", "step_size", "langevin_steps", "num_steps", "solver", "grid", "dynamic_threshold")
# σ of depth 0.3 on DDPM's schedule
_PUBLISHED = {"sigma": 1.24, "relative_step": 0.05, "langevin_steps": 1, "num_steps": 30}


def _start(config: EditConfig, denoiser: Denoiser, images: Images, draw: Callable[[int], Images]) -> tuple[Images, Level]:
    return images, jnp.broadcast_to(denoiser.sigma_range[0].astype(images.dtype), (len(images), 1, 1, 1))


def _route(config: EditConfig, denoiser: Denoiser) -> Route:
    program, low = config.program, denoiser.sigma_range[0]
    steps, corrections, solver = program.num_steps, program.langevin_steps, program.solver
    up = noise_levels(denoiser, low, config.sigma[0], steps, program.grid)
    down = up[::-1]
    relative_steps = jnp.broadcast_to(config.relative_step[0], (steps * corrections,))
    corrected = langevin_moves(jnp.repeat(down[:-1], corrections), relative_steps, "variance_preserving", solver)
    # Each step down after the corrections of its level.
    places = [np.arange(steps * corrections).reshape(steps, corrections), steps * corrections + np.arange(steps)[:, None]]
    way_down = (corrected + ode_moves(down, solver)).ordered(np.concatenate(places, axis=1).ravel())
    return start_move(low, solver) + ode_moves(up, solver) + way_down + last_move(low.astype(up.dtype), solver)


METHOD = config_method(
    "dreamclean",
    "encode, then a correction at every level of the way down (Xiao et al. 2024)",
    _OPTIONS,
    _PUBLISHED,
    start=_start,
    route=_route,
    up=moves_up,
    upward=("sigma",),
    rows={"dreamclean": Row("DreamClean")},
)
