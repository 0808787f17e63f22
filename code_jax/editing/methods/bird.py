"""BIRD (Chihaoui, Lemkhenter & Favaro 2024, arXiv 2405.19572): noise is fitted through DDIM's mapping and the damage's operator.

Adam on the noise w towards ‖A(g(w)) − y‖², each step of which ends on the sphere of N(0, I), ‖w‖² = D. It is told the operator's
family: of a blur the kernel is learned beside w, as a softmax of its own numbers (theirs is a small network's); a mask and a
downsampling are known. An upper bound for blind methods, not one of them. Their program: ten steps of the mapping, rates of
0.001 to 0.01 and 100 to 200 iterations by the damage.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.solvers import Field, Solver
from code_jax.editing.mapping import THROUGH, Levels, mapped, mapping_levels
from code_jax.editing.methods import Row
from code_jax.editing.methods.adam import Moments, adam, no_moments
from code_jax.editing.methods.record import Record, record_method
from code_jax.editing.moves import moves
from code_jax.editing.operators import OPERATORS, convolved, linear_blur
from code_jax.editing.route import Draw, Kind, Numbers, Route, State
from code_jax.shapes import Images, Level, Scalar

Kernel = Float[Array, "batch side side"]


class FamilyFit(Record):
    """Settings of `bird`.

    Attributes:
        sigma, depth: the level of the noise, as σ or as a share of the timesteps; None of both is `LEVEL`.
        learning_rate: Adam's, of the noise.
        kernel_rate: Adam's, of the kernel's numbers.
        operator: a name in `code_jax.editing.operators.OPERATORS`, which says the family.
        iterations: how many.
        kernel: side of the kernel, odd.
        num_steps: of the mapping.
        grid: of the mapping's levels.
    """

    NAME: ClassVar[str] = "bird"

    learning_rate: Any = 0.003
    kernel_rate: Any = 0.05
    operator: str = flax.struct.field(pytree_node=False, default="linear_blur")
    iterations: int = flax.struct.field(pytree_node=False, default=100)
    kernel: int = flax.struct.field(pytree_node=False, default=11)
    num_steps: int = flax.struct.field(pytree_node=False, default=10)
    grid: str = flax.struct.field(pytree_node=False, default="time")


class Progress(flax.struct.PyTreeNode):
    """Where a fit is.

    Attributes:
        settings: of each image, [B].
        target: y, [B, H, W, C].
        levels: of the mapping, [B, n + 1].
        noise, kernel: w, and the kernel's numbers, [B, H, W, C] and [B, k, k].
        noise_moments, kernel_moments: Adam's.
    """

    settings: FamilyFit
    target: Images
    levels: Levels
    noise: Images
    kernel: Kernel
    noise_moments: Moments
    kernel_moments: Moments


def _damaged(settings: FamilyFit, images: Images, kernel: Kernel) -> Images:
    operator = OPERATORS[settings.operator]
    if operator is not linear_blur:
        return operator(images)
    weights = jax.nn.softmax(kernel.reshape(len(kernel), -1)).reshape(*kernel.shape, 1)
    return convolved(images, jnp.broadcast_to(weights, (*kernel.shape, images.shape[3])))


def _iteration(field: Field, numbers: Numbers, draw: Draw, solver: Solver, state: State) -> State:
    fit: Progress = state.kept

    def error_of(noise: Images, kernel: Kernel) -> tuple[Scalar, Images]:
        images = mapped(field, noise, fit.levels)
        return jnp.sum((_damaged(fit.settings, images, kernel) - fit.target) ** 2), images

    (_, images), (by_noise, by_kernel) = jax.value_and_grad(error_of, (0, 1), has_aux=True)(fit.noise, fit.kernel)
    step, noise_moments = adam(by_noise, fit.noise_moments, fit.settings.learning_rate)
    kernel_step, kernel_moments = adam(by_kernel, fit.kernel_moments, fit.settings.kernel_rate)
    noise = fit.noise + step
    noise *= jax.lax.rsqrt(jnp.mean(noise**2, axis=(1, 2, 3), keepdims=True))
    moments = {"noise_moments": noise_moments, "kernel_moments": kernel_moments}
    return state.replace(z=images, kept=fit.replace(noise=noise, kernel=fit.kernel + kernel_step, **moments))


def _start(
    settings: FamilyFit, denoiser: Denoiser, images: Images, draw: Callable[[int], Images]
) -> tuple[Images, Level, Progress]:
    levels = jax.vmap(lambda sigma: mapping_levels(denoiser, sigma, settings.num_steps, settings.grid))(settings.sigma)
    noise, kernel = draw(1), jnp.zeros((len(images), settings.kernel, settings.kernel), images.dtype)
    fit = Progress(settings, images, levels, noise, kernel, no_moments(noise), no_moments(kernel))
    return images, jnp.zeros((len(images), 1, 1, 1), images.dtype), fit


def _route(settings: FamilyFit, denoiser: Denoiser) -> Route:
    cost = THROUGH * settings.num_steps
    still = jnp.zeros(settings.iterations, settings.sigma.dtype)
    return moves(Kind("fit", _iteration, lambda solver: cost, leads=False), still, still, "ddim")


METHOD = record_method(
    FamilyFit,
    "told the damage's family: noise fitted through the mapping (Chihaoui et al. 2024)",
    start=_start,
    route=_route,
    up=lambda settings: 0,
    upward=("sigma", "learning_rate", "kernel_rate"),
    rows={"bird": Row("BIRD (told)")},
    masks=False,
    gradient=False,
    tiles=False,
)
