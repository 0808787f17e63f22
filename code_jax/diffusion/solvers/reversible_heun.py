"""Reversible Heun (Kidger et al. 2021, algorithm 1): its memory is a shadow of z and the slope there."""

from __future__ import annotations

import diffrax
import jax.numpy as jnp

from code_jax.diffusion.solvers import Field, Memory, Solver
from code_jax.diffusion.solvers.runge_kutta import TERM
from code_jax.shapes import Images, Level

_SCHEME = diffrax.ReversibleHeun()


def _step(field: Field, sigma: Level, sigma_next: Level, z: Images, memory: Memory) -> tuple[Images, Memory]:
    z, _, _, memory, _ = _SCHEME.step(TERM, sigma, sigma_next, z, field, memory, made_jump=jnp.array(False))
    return z, memory


SOLVERS: dict[str, Solver] = {
    "reversible_heun": Solver(
        _step,
        evaluations=1,
        order=2,
        init=lambda z: (z, jnp.zeros_like(z)),
        jump=lambda memory, before, after: (memory[0] + (after - before), memory[1]),  # what moves z moves the shadow
        settle=lambda memory, z, eps: (z, eps),
        reversible=True,
    )
}
