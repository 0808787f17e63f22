"""Solvers of the probability-flow ODE dz/dσ = ε(z, σ), as records of pure functions.

In z explicit Euler is DDIM (Song, Meng & Ermon 2021, equation 14). Runge–Kutta steps are diffrax's. A multistep solver remembers
the evaluation before, place by place: where a clip or a correction changed z, what it remembers is no longer of this path, and
the next step there is Euler's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp

from code_jax.errors import choose

Field = Callable[[jax.Array, jax.Array], jax.Array]  # (z, σ) -> ε
Memory = Any  # a pytree

_TERM = diffrax.ODETerm(lambda sigma, z, field: field(z, jnp.asarray(sigma)))


class Solver(NamedTuple):
    """A solver; z is [B, H, W, C], levels are [] or [B, 1, 1, 1].

    Attributes:
        step: ``(field, σ, σ', z, memory) -> (z', memory)``, up or down.
        evaluations: of the field, in a step.
        order: of convergence.
        init: ``z -> memory`` before the first step.
        jump: ``(memory, before, after) -> memory``, where something other than a step changed z.
        settle: ``(memory, z, ε) -> memory``, where ε(z, σ) is known; only a reversible solver has a use for it.
        reversible: steps back undo steps, exactly but for rounding, if the memory is kept. It sets out from a known ε.
    """

    step: Callable[[Field, jax.Array, jax.Array, jax.Array, Memory], tuple[jax.Array, Memory]]
    evaluations: int
    order: int
    init: Callable[[jax.Array], Memory] = lambda z: None
    jump: Callable[[Memory, jax.Array, jax.Array], Memory] = lambda memory, before, after: memory
    settle: Callable[[Memory, jax.Array, jax.Array], Memory] = lambda memory, z, eps: memory
    reversible: bool = False

    @property
    def leads(self) -> bool:
        """Whether its only evaluation is that at (z, σ)."""
        return self.evaluations == 1 and not self.reversible


def runge_kutta(scheme: diffrax.AbstractSolver, evaluations: int, order: int) -> Solver:
    """A one-step scheme of diffrax, each step afresh: FSAL's last slope would be wrong after a clip."""

    def step(field: Field, sigma: jax.Array, sigma_next: jax.Array, z: jax.Array, memory: Memory) -> tuple[jax.Array, Memory]:
        state = scheme.init(_TERM, sigma, sigma_next, z, field)
        z, _, _, _, _ = scheme.step(_TERM, sigma, sigma_next, z, field, state, made_jump=jnp.array(False))
        return z, memory

    return Solver(step, evaluations, order)


def _reversible_heun() -> Solver:
    """Kidger et al. 2021, algorithm 1; its memory is a shadow of z and the slope there, and what moves z moves the shadow."""
    scheme = diffrax.ReversibleHeun()

    def step(field: Field, sigma: jax.Array, sigma_next: jax.Array, z: jax.Array, memory: Memory) -> tuple[jax.Array, Memory]:
        z, _, _, memory, _ = scheme.step(_TERM, sigma, sigma_next, z, field, memory, made_jump=jnp.array(False))
        return z, memory

    return Solver(
        step, 1, 2,
        init=lambda z: (z, jnp.zeros_like(z)),
        jump=lambda memory, before, after: (memory[0] + (after - before), memory[1]),
        settle=lambda memory, z, eps: (z, eps),
        reversible=True,
    )  # fmt: skip


class Past(NamedTuple):
    """What a two-step solver remembers: the value before, the level it was of, and where both are of this path.

    Attributes:
        value: [B, H, W, C].
        sigma: [B, 1, 1, 1].
        holds: bool [B, H, W, C].
    """

    value: jax.Array
    sigma: jax.Array
    holds: jax.Array


def _no_past(z: jax.Array) -> Past:
    return Past(jnp.zeros_like(z), jnp.ones((len(z), 1, 1, 1), z.dtype), jnp.zeros(z.shape, bool))


def _past_after_jump(past: Past, before: jax.Array, after: jax.Array) -> Past:
    return past._replace(holds=past.holds & (before == after))


def _extrapolated(past: Past, value: jax.Array, time: jax.Array, time_before: jax.Array, time_next: jax.Array) -> jax.Array:
    """The value at the middle of the step, on the line through this one and the one before; this one where there is none."""
    span = time - time_before
    ratio = (time_next - time) / jnp.where(span == 0, 1, span)
    return value + jnp.where(past.holds & (span != 0), ratio / 2 * (value - past.value), 0)


def _two_step(advance: Callable[..., tuple[jax.Array, jax.Array]]) -> Solver:
    def step(field: Field, sigma: jax.Array, sigma_next: jax.Array, z: jax.Array, past: Past) -> tuple[jax.Array, Memory]:
        moved, value = advance(field(z, sigma), sigma, sigma_next, z, past)
        return moved, Past(value, jnp.broadcast_to(sigma, past.sigma.shape).astype(z.dtype), jnp.ones_like(past.holds))

    return Solver(step, 1, 2, _no_past, _past_after_jump)


def _adams_bashforth(
    eps: jax.Array, sigma: jax.Array, sigma_next: jax.Array, z: jax.Array, past: Past
) -> tuple[jax.Array, jax.Array]:
    """The second-order scheme with variable steps: z' = z + h(ε + r/2 (ε − ε_before)), r = h/h_before."""
    return z + (sigma_next - sigma) * _extrapolated(past, eps, sigma, past.sigma, sigma_next), eps


def _dpm_solver(eps: jax.Array, sigma: jax.Array, sigma_next: jax.Array, z: jax.Array, past: Past) -> tuple[jax.Array, jax.Array]:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): z' = (σ'/σ)z + (1 − σ'/σ)D, D = z − σε extrapolated in log σ."""
    share, denoised = sigma_next / sigma, z - sigma * eps
    ahead = _extrapolated(past, denoised, jnp.log(sigma), jnp.log(past.sigma), jnp.log(sigma_next))
    return share * z + (1 - share) * ahead, denoised


SOLVERS: dict[str, Solver] = {
    "ddim": runge_kutta(diffrax.Euler(), 1, 1),
    "heun": runge_kutta(diffrax.Heun(), 2, 2),
    "midpoint": runge_kutta(diffrax.Midpoint(), 2, 2),
    "tsit5": runge_kutta(diffrax.Tsit5(), 7, 5),
    "reversible_heun": _reversible_heun(),
    "adams_bashforth": _two_step(_adams_bashforth),
    "dpm++2m": _two_step(_dpm_solver),
}


def find_solver(name: str) -> Solver:
    """The solver of a name in `SOLVERS`; raises UserError for any other."""
    return choose("solver", name, SOLVERS)
