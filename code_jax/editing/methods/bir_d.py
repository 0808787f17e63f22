"""BIR-D (Tu, Yang & Fei 2024, arXiv 2408.11287, algorithm 1): sampling towards the input through a learned damage.

The damage is taken to be y = K(x) + M, a kernel for each channel and a mask. At every ancestral step from pure noise, with
L = ½‖y − K(x̂_0) − M‖², the mean of x_{t−1} is moved by −s∇_{x̂_0}L, and K and M by −l∇L/D, of D values. No gradient goes
through the network. Their program has s = 3 000 for means over 3·256² values in [0, 1], which is 0.0076 here, a kernel of 9
pixels that is a Gaussian of σ = 2.6 at first, M = 0, l = 0.01 and 1 000 steps. Their adaptive s is left out: in equation 3 it
depends on a normalisation that is not given, and their program puts a logarithm of the variance in the variance's place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import flax.struct
import jax
import jax.numpy as jnp

from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.solvers import Field, Solver
from code_jax.editing.mapping import mapping_levels
from code_jax.editing.methods import Row
from code_jax.editing.methods.record import Record, record_method
from code_jax.editing.moves import ancestral_moves
from code_jax.editing.operators import Kernels, convolved
from code_jax.editing.route import Draw, Kind, Numbers, Route, State
from code_jax.shapes import Images, Level, Scalar

_SIGMA = 2.6


class LearnedDamage(Record):
    """Settings of `bir_d`.

    Attributes:
        sigma, depth: the level of the noise that it begins with; None of both is `LEVEL`.
        input_guidance: s.
        kernel_rate: l.
        kernel: side of K, odd.
        num_steps: of the sampling.
        grid: of its levels.
    """

    NAME: ClassVar[str] = "bir_d"

    input_guidance: Any = 0.0076
    kernel_rate: Any = 0.01
    kernel: int = flax.struct.field(pytree_node=False, default=9)
    num_steps: int = flax.struct.field(pytree_node=False, default=1000)
    grid: str = flax.struct.field(pytree_node=False, default="time")


class Damage(flax.struct.PyTreeNode):
    """The input, and what is learned of its damage.

    Attributes:
        image: y, [B, H, W, C].
        input_guidance, rate: s and l, [B, 1, 1, 1].
        kernel: K, [B, k, k, C].
        mask: M, [B, H, W, C].
    """

    image: Images
    input_guidance: Level
    rate: Level
    kernel: Kernels
    mask: Images


def _guided(field: Field, numbers: Numbers, draw: Draw, solver: Solver, state: State) -> State:
    sigma, sigma_next, a, b = numbers
    damage: Damage = state.kept
    eps = field(state.z, sigma)

    def misfit(mean: Images, kernel: Kernels, mask: Images) -> Scalar:
        return jnp.sum((damage.image - convolved(mean, kernel) - mask) ** 2) / 2

    slopes = jax.grad(misfit, (0, 1, 2))(state.z - sigma * eps, damage.kernel, damage.mask)
    pull, kernel, mask = slopes
    size = damage.image[0].size
    kept = damage.replace(kernel=damage.kernel - damage.rate / size * kernel, mask=damage.mask - damage.rate / size * mask)
    z = state.z + a * eps + b * draw() - damage.input_guidance * jnp.sqrt(1 + sigma_next**2) * pull
    return state.replace(z=z, kept=kept)


def _start(
    settings: LearnedDamage, denoiser: Denoiser, images: Images, draw: Callable[[int], Images]
) -> tuple[Images, Level, Damage]:
    numbers = settings.sigma, settings.input_guidance, settings.kernel_rate
    sigma, guidance, rate = (number[:, None, None, None].astype(images.dtype) for number in numbers)
    away = (jnp.arange(settings.kernel) - (settings.kernel - 1) / 2) ** 2
    kernel = jnp.exp(-(away[:, None] + away) / (2 * _SIGMA**2))[..., None]
    kernel = jnp.broadcast_to(kernel / kernel.sum(), (len(images), *kernel.shape[:2], images.shape[3])).astype(images.dtype)
    return sigma * draw(1), sigma, Damage(images, guidance, rate, kernel, jnp.zeros_like(images))


def _route(settings: LearnedDamage, denoiser: Denoiser) -> Route:
    kind = Kind("guided", _guided, lambda solver: 1, draws=True, leads=False)
    return ancestral_moves(mapping_levels(denoiser, settings.sigma, settings.num_steps, settings.grid), "ddim", kind)


METHOD = record_method(
    LearnedDamage,
    "sampling towards the input through a kernel that is learned (Tu et al. 2024)",
    start=_start,
    route=_route,
    up=lambda settings: 0,
    upward=("sigma", "input_guidance", "kernel_rate"),
    rows={"bir_d": Row("BIR-D")},
    masks=False,
    gradient=False,
    tiles=False,
)
