"""DiffPIR (Zhu et al. 2023, algorithm 1): sampling in turn with a step towards the input, told the damage's operator A.

x̂_0 ← argmin_x ‖y − Ax‖² + ρ‖x − x̂_0‖² with ρ = λσ_n²/σ², then x_{t−1} = √ᾱ x̂_0 + √(1 − ᾱ)(√(1 − ζ) ε̂ + √ζ n) with the ε̂ of
the new x̂_0. An upper bound for blind methods, not one of them. Their program deblurs with 100 steps, λ = 1 and ζ = 0.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import flax.struct
import jax.numpy as jnp

from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.solvers import Field, Solver
from code_jax.editing.mapping import mapping_levels
from code_jax.editing.methods import Row
from code_jax.editing.methods.record import Record, record_method
from code_jax.editing.moves import moves
from code_jax.editing.operators import OPERATORS, Operator, nearest
from code_jax.editing.route import Draw, Kind, Numbers, Route, State
from code_jax.shapes import Images, Level

_STEPS = 20  # of the conjugate gradients


class PlugAndPlay(Record):
    """Settings of `diffpir`.

    Attributes:
        sigma, depth: the level of the noise that it begins with; None of both is `LEVEL`.
        noise: σ_n, the standard deviation of the input's noise.
        prior_weight: λ.
        zeta: ζ in [0, 1], the share of fresh noise.
        operator: a name in `code_jax.editing.operators.OPERATORS`.
        num_steps: of the sampling.
        grid: of its levels.
    """

    NAME: ClassVar[str] = "diffpir"

    noise: Any = 0.05
    prior_weight: Any = 1.0
    zeta: Any = 0.1
    operator: str = flax.struct.field(pytree_node=False, default="linear_blur")
    num_steps: int = flax.struct.field(pytree_node=False, default=100)
    grid: str = flax.struct.field(pytree_node=False, default="time")


class Given(flax.struct.PyTreeNode):
    """What the moves know of the image: the input [B, H, W, C], and λσ_n² [B, 1, 1, 1]."""

    image: Images
    weight: Level


def _fitted(operator: Operator) -> Callable[[Field, Numbers, Draw, Solver, State], State]:
    def move(field: Field, numbers: Numbers, draw: Draw, solver: Solver, state: State) -> State:
        sigma, _, a, b = numbers
        given: Given = state.kept
        mean = state.z - sigma * field(state.z, sigma)
        mean = nearest(operator, given.image, mean, given.weight / sigma**2, _STEPS)
        return state.replace(z=mean + a * (state.z - mean) / sigma + b * draw())

    return move


def _start(
    settings: PlugAndPlay, denoiser: Denoiser, images: Images, draw: Callable[[int], Images]
) -> tuple[Images, Level, Given]:
    sigma, weight = settings.sigma[:, None, None, None], (settings.prior_weight * settings.noise**2)[:, None, None, None]
    return images + sigma.astype(images.dtype) * draw(1), sigma, Given(images, weight.astype(images.dtype))


def _route(settings: PlugAndPlay, denoiser: Denoiser) -> Route:
    levels = mapping_levels(denoiser, settings.sigma, settings.num_steps, settings.grid)
    after = levels[1:]
    kind = Kind("fitted", _fitted(OPERATORS[settings.operator]), lambda solver: 1, draws=True, leads=False)
    return moves(kind, levels[:-1], after, "ddim", after * jnp.sqrt(1 - settings.zeta), after * jnp.sqrt(settings.zeta))


METHOD = record_method(
    PlugAndPlay,
    "told the damage: sampling in turn with a fit to the input (Zhu et al. 2023)",
    start=_start,
    route=_route,
    up=lambda settings: 0,
    upward=("sigma", "noise", "prior_weight"),
    rows={"diffpir": Row("DiffPIR (told)")},
    masks=False,
    tiles=False,
)
