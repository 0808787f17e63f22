"""The probability-flow ODE dz/dσ = ε(√ᾱ z, t(σ)), stepped by diffrax's solvers on grids of σ.

The ODE is equation 13 of Song et al. 2021. z = x/√ᾱ is the image plus σ times noise, so that explicit Euler in σ is DDIM
(Song, Meng & Ermon 2021, equation 14). The clean end of the ODE is σ_0, the first training level.
"""

from __future__ import annotations

from typing import Any

import diffrax
import jax
import jax.numpy as jnp

from code_jax.diffusion.denoiser import Denoiser, eps_at
from code_jax.diffusion.schedule import NoiseSchedule
from code_jax.errors import UserError

SOLVERS: dict[str, diffrax.AbstractSolver] = {
    "ddim": diffrax.Euler(),
    "heun": diffrax.Heun(),
    "midpoint": diffrax.Midpoint(),
    "tsit5": diffrax.Tsit5(),
}
NFE_PER_STEP = {"ddim": 1, "heun": 2, "midpoint": 2, "tsit5": 7}
GRIDS = ("time", "geometric")

# A field of the ODE, ``(σ, z, denoiser) -> dz/dσ``, as diffrax wants it.
_TERM = diffrax.ODETerm(lambda sigma, z, denoiser: eps_at(denoiser, z, jnp.asarray(sigma)))


def find_solver(name: str) -> diffrax.AbstractSolver:
    """The diffrax solver of a name in `SOLVERS`; raises UserError for any other."""
    if name not in SOLVERS:
        raise UserError(f"solver {name!r} is unknown; choose from {', '.join(SOLVERS)}")
    return SOLVERS[name]


def noise_levels(
    schedule: NoiseSchedule, t_from: jax.Array | float, t_to: jax.Array | float, num_steps: int, grid: str
) -> jax.Array:
    """σ [num_steps + 1] from t_from to t_to, uniform in t ("time") or in log σ ("geometric")."""
    if grid not in GRIDS:
        raise UserError(f"grid {grid!r} is unknown; choose from {', '.join(GRIDS)}")
    share = jnp.arange(num_steps + 1, dtype=schedule.log_sigma.dtype) / num_steps
    if grid == "time":
        return schedule.sigma(t_from + (t_to - t_from) * share)
    ends = jnp.log(schedule.sigma(t_from)), jnp.log(schedule.sigma(t_to))
    return jnp.exp(ends[0] + (ends[1] - ends[0]) * share)


def ode_step(
    solver: diffrax.AbstractSolver, denoiser: Denoiser, sigma_from: jax.Array, sigma_to: jax.Array, z: jax.Array
) -> jax.Array:
    """One solver step from σ_from to σ_to, up or down; [B, H, W, C].

    Each step starts afresh: whatever a solver remembers (FSAL's last slope) would be wrong after a clip or a correction.
    """
    state: Any = solver.init(_TERM, sigma_from, sigma_to, z, denoiser)
    z, *_ = solver.step(_TERM, sigma_from, sigma_to, z, denoiser, state, made_jump=jnp.array(False))
    return z
