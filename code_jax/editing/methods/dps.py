"""DPS, diffusion posterior sampling (Chung et al. 2023, algorithm 1): ancestral sampling, told the damage's operator A.

After every step x_{t−1} ← x_{t−1} − ζ/‖y − Ax̂_0‖·∇_{x_t}‖y − Ax̂_0(x_t)‖², from pure noise, through the network. An upper bound
for blind methods, not one of them. Theirs: 1 000 steps, ζ from 0.3 to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import flax.struct
import jax
import jax.numpy as jnp

from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.solvers import Field, Solver
from code_jax.editing.mapping import ONCE, mapping_levels
from code_jax.editing.methods import Row
from code_jax.editing.methods.record import Record, record_method
from code_jax.editing.moves import ancestral_moves
from code_jax.editing.operators import OPERATORS, Operator
from code_jax.editing.route import Draw, Kind, Numbers, Route, State
from code_jax.shapes import Images, Level, Scalar


class PosteriorSampling(Record):
    """Settings of `dps`.

    Attributes:
        sigma, depth: the level of the noise that it begins with; None of both is `LEVEL`.
        input_guidance: ζ.
        operator: a name in `code_jax.editing.operators.OPERATORS`.
        num_steps: of the sampling.
        grid: of its levels.
    """

    NAME: ClassVar[str] = "dps"

    input_guidance: Any = 1.0
    operator: str = flax.struct.field(pytree_node=False, default="linear_blur")
    num_steps: int = flax.struct.field(pytree_node=False, default=1000)
    grid: str = flax.struct.field(pytree_node=False, default="time")


class Given(flax.struct.PyTreeNode):
    """What the moves know of the image: the input [B, H, W, C], and ζ [B, 1, 1, 1]."""

    image: Images
    input_guidance: Level


def _guided(operator: Operator) -> Callable[[Field, Numbers, Draw, Solver, State], State]:
    def move(field: Field, numbers: Numbers, draw: Draw, solver: Solver, state: State) -> State:
        sigma, sigma_next, a, b = numbers
        given: Given = state.kept

        def misfit(z: Images) -> tuple[Scalar, Images]:
            eps = field(z, sigma)
            rest = given.image - operator(z - sigma * eps)
            return jnp.sum(jnp.sqrt(jnp.sum(rest**2, axis=(1, 2, 3)) + jnp.finfo(z.dtype).tiny)), eps

        (_, eps), slope = jax.value_and_grad(misfit, has_aux=True)(state.z)
        # ∇‖r‖²/‖r‖ = 2∇‖r‖; by x_t it is √(1 + σ²) times that by z_t, and a step of x_{t−1} is √(1 + σ'²) times as long in z.
        pull = 2 * given.input_guidance * jnp.sqrt((1 + sigma**2) * (1 + sigma_next**2)) * slope
        return state.replace(z=state.z + a * eps + b * draw() - pull)

    return move


def _start(
    settings: PosteriorSampling, denoiser: Denoiser, images: Images, draw: Callable[[int], Images]
) -> tuple[Images, Level, Given]:
    sigma = settings.sigma[:, None, None, None].astype(images.dtype)
    return sigma * draw(1), sigma, Given(images, settings.input_guidance[:, None, None, None].astype(images.dtype))


def _route(settings: PosteriorSampling, denoiser: Denoiser) -> Route:
    kind = Kind("guided", _guided(OPERATORS[settings.operator]), lambda solver: ONCE, draws=True, leads=False)
    return ancestral_moves(mapping_levels(denoiser, settings.sigma, settings.num_steps, settings.grid), "ddim", kind)


METHOD = record_method(
    PosteriorSampling,
    "told the damage: sampling guided through the network (Chung et al. 2023)",
    start=_start,
    route=_route,
    up=lambda settings: 0,
    upward=("sigma", "input_guidance"),
    rows={"dps": Row("DPS (told)")},
    masks=False,
    gradient=False,
    tiles=False,
)
