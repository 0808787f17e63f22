"""Solvers of the probability-flow ODE dz/dσ = ε(z, σ), as records of pure functions.

In z explicit Euler is DDIM (Song, Meng & Ermon 2021, equation 14). A new solver is a file here and a line in `_HOMES`. Imports no
JAX until one is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from code_jax.errors import choose

if TYPE_CHECKING:
    from code_jax.shapes import Images, Level

_HOMES = {
    "ddim": "code_jax.diffusion.solvers.runge_kutta",
    "heun": "code_jax.diffusion.solvers.runge_kutta",
    "midpoint": "code_jax.diffusion.solvers.runge_kutta",
    "tsit5": "code_jax.diffusion.solvers.runge_kutta",
    "reversible_heun": "code_jax.diffusion.solvers.reversible_heun",
    "adams_bashforth": "code_jax.diffusion.solvers.two_step",
    "dpm++2m": "code_jax.diffusion.solvers.two_step",
}

Field = Callable[["Images", "Level"], "Images"]  # (z, σ) -> ε
Memory = Any  # a pytree


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

    step: Callable[[Field, Level, Level, Images, Memory], tuple[Images, Memory]]
    evaluations: int
    order: int
    init: Callable[[Images], Memory] = lambda z: None
    jump: Callable[[Memory, Images, Images], Memory] = lambda memory, before, after: memory
    settle: Callable[[Memory, Images, Images], Memory] = lambda memory, z, eps: memory
    reversible: bool = False

    @property
    def leads(self) -> bool:
        """Whether its only evaluation is that at (z, σ)."""
        return self.evaluations == 1 and not self.reversible


def names() -> tuple[str, ...]:
    """Of all the solvers that there are."""
    return tuple(_HOMES)


def find_solver(name: str) -> Solver:
    """The solver of a name in `names`, from the ``SOLVERS`` of its module; raises UserError where there is none."""
    home = choose("solver", name, _HOMES)
    solver: Solver = choose(f"solver of {home}", name, importlib.import_module(home).SOLVERS)
    return solver
