"""Two-step solvers. They remember the evaluation before, place by place.

Where a clip or a correction changed z, what they remember is no longer of this path, and the next step there is Euler's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from code_jax.diffusion.solvers import Field, Solver
from code_jax.shapes import Images, Level


class Past(NamedTuple):
    """What a two-step solver remembers: the value before, the level it was of, and where both are of this path.

    Attributes:
        value: [B, H, W, C].
        sigma: [B, 1, 1, 1].
        holds: bool [B, H, W, C].
    """

    value: Images
    sigma: Float[Array, "batch 1 1 1"]
    holds: Bool[Array, "batch height width channels"]


def _no_past(z: Images) -> Past:
    return Past(jnp.zeros_like(z), jnp.ones((len(z), 1, 1, 1), z.dtype), jnp.zeros(z.shape, bool))


def _past_after_jump(past: Past, before: Images, after: Images) -> Past:
    return past._replace(holds=past.holds & (before == after))


def _extrapolated(past: Past, value: Images, time: Level, time_before: Level, time_next: Level) -> Images:
    """The value at the middle of the step, on the line through this one and the one before; this one where there is none."""
    span = time - time_before
    ratio = (time_next - time) / jnp.where(span == 0, 1, span)
    return value + jnp.where(past.holds & (span != 0), ratio / 2 * (value - past.value), 0)


def _two_step(advance: Callable[..., tuple[Images, Images]]) -> Solver:
    def step(field: Field, sigma: Level, sigma_next: Level, z: Images, past: Past) -> tuple[Images, Past]:
        moved, value = advance(field(z, sigma), sigma, sigma_next, z, past)
        return moved, Past(value, jnp.broadcast_to(sigma, past.sigma.shape).astype(z.dtype), jnp.ones_like(past.holds))

    return Solver(step, 1, 2, _no_past, _past_after_jump)


def _adams_bashforth(eps: Images, sigma: Level, sigma_next: Level, z: Images, past: Past) -> tuple[Images, Images]:
    """The second-order scheme with variable steps: z' = z + h(ε + r/2 (ε − ε_before)), r = h/h_before."""
    return z + (sigma_next - sigma) * _extrapolated(past, eps, sigma, past.sigma, sigma_next), eps


def _dpm_solver(eps: Images, sigma: Level, sigma_next: Level, z: Images, past: Past) -> tuple[Images, Images]:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): z' = (σ'/σ)z + (1 − σ'/σ)D, D = z − σε extrapolated in log σ."""
    share, denoised = sigma_next / sigma, z - sigma * eps
    ahead = _extrapolated(past, denoised, jnp.log(sigma), jnp.log(past.sigma), jnp.log(sigma_next))
    return share * z + (1 - share) * ahead, denoised


SOLVERS: dict[str, Solver] = {"adams_bashforth": _two_step(_adams_bashforth), "dpm++2m": _two_step(_dpm_solver)}
