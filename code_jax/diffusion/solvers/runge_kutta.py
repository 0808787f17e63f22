"""One-step schemes, which are diffrax's: explicit Euler, which is DDIM, and those of higher order."""

from __future__ import annotations

from typing import Any

import diffrax
import jax.numpy as jnp

from code_jax.diffusion.solvers import Field, Memory, Solver
from code_jax.shapes import Images, Level

TERM = diffrax.ODETerm(lambda sigma, z, field: field(z, jnp.asarray(sigma)))


def runge_kutta(scheme: diffrax.AbstractSolver[Any], evaluations: int, order: int) -> Solver:
    """A one-step scheme of diffrax, each step afresh: FSAL's last slope would be wrong after a clip."""

    def step(field: Field, sigma: Level, sigma_next: Level, z: Images, memory: Memory) -> tuple[Images, Memory]:
        state = scheme.init(TERM, sigma, sigma_next, z, field)
        z, _, _, _, _ = scheme.step(TERM, sigma, sigma_next, z, field, state, made_jump=jnp.array(False))
        return z, memory

    return Solver(step, evaluations, order)


SOLVERS: dict[str, Solver] = {
    "ddim": runge_kutta(diffrax.Euler(), 1, 1),
    "heun": runge_kutta(diffrax.Heun(), 2, 2),
    "midpoint": runge_kutta(diffrax.Midpoint(), 2, 2),
    "tsit5": runge_kutta(diffrax.Tsit5(), 7, 5),
}
