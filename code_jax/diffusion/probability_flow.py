"""The probability-flow ODE dz/dσ = ε(√ᾱ z, t(σ)), stepped by diffrax's solvers on grids of σ.

The ODE is equation 13 of Song et al. 2021. z = x/√ᾱ is the image plus σ times noise, so that explicit Euler in σ is DDIM
(Song, Meng & Ermon 2021, equation 14). The clean end of the ODE is σ_0, the first training level.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp

from code_jax.diffusion.schedule import NoiseSchedule
from code_jax.errors import UserError

SOLVERS: dict[str, diffrax.AbstractSolver] = {
    "ddim": diffrax.Euler(),
    "heun": diffrax.Heun(),
    "midpoint": diffrax.Midpoint(),
    "tsit5": diffrax.Tsit5(),
    "reversible_heun": diffrax.ReversibleHeun(),
}
NFE_PER_STEP = {"ddim": 1, "heun": 2, "midpoint": 2, "tsit5": 7, "reversible_heun": 1}
REVERSIBLE = ("reversible_heun",)  # steps back undo steps, exactly but for rounding, if what the solver remembers is kept
GRIDS = ("time", "geometric", "rho")
_RHO = 7.0

Memory = tuple[jax.Array, jax.Array] | None

Field = Callable[[jax.Array, jax.Array], jax.Array]  # (z, σ) -> dz/dσ = ε

_TERM = diffrax.ODETerm(lambda sigma, z, field: field(z, jnp.asarray(sigma)))


def find_solver(name: str) -> diffrax.AbstractSolver:
    """The diffrax solver of a name in `SOLVERS`; raises UserError for any other."""
    if name not in SOLVERS:
        raise UserError(f"solver {name!r} is unknown; choose from {', '.join(SOLVERS)}")
    return SOLVERS[name]


def noise_levels(
    schedule: NoiseSchedule, t_from: jax.Array | float, t_to: jax.Array | float, num_steps: int, grid: str
) -> jax.Array:
    """σ [num_steps + 1] from t_from to t_to, uniform in t ("time"), in log σ ("geometric"), or in σ^(1/7).

    The last is "rho", the grid of Karras et al. 2022 (EDM), equation 5 with ρ = 7.
    """
    if grid not in GRIDS:
        raise UserError(f"grid {grid!r} is unknown; choose from {', '.join(GRIDS)}")
    share = jnp.arange(num_steps + 1, dtype=schedule.log_sigma.dtype) / num_steps
    if grid == "time":
        return schedule.sigma(t_from + (t_to - t_from) * share)
    along, back = (jnp.log, jnp.exp) if grid == "geometric" else (lambda s: s ** (1 / _RHO), lambda s: s**_RHO)
    ends = along(schedule.sigma(t_from)), along(schedule.sigma(t_to))
    return back(ends[0] + (ends[1] - ends[0]) * share)


def ode_step(
    solver: diffrax.AbstractSolver,
    field: Field,
    sigma_from: jax.Array,
    sigma_to: jax.Array,
    z: jax.Array,
    memory: Memory = None,
) -> tuple[jax.Array, Memory]:
    """One solver step from σ_from to σ_to, up or down: z [B, H, W, C] there, and what the solver remembers.

    The levels are one for all images [], or one each [B, 1, 1, 1]: diffrax takes a time of any shape that goes with z.
    Without a memory each step starts afresh, since FSAL's last slope would be wrong after a clip or a correction. A reversible
    solver lives by its memory, which is a shadow of z [B, H, W, C] and the slope at it (Kidger et al. 2021, algorithm 1).
    """
    state: Any = solver.init(_TERM, sigma_from, sigma_to, z, field) if memory is None else memory
    z, _, _, state, _ = solver.step(_TERM, sigma_from, sigma_to, z, field, state, made_jump=jnp.array(False))
    return z, None if memory is None else state
