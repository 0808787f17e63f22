"""DIIP (Chihaoui & Favaro 2025, arXiv 2503.21410): the input is fitted through DDIM's mapping from noise, and not to the end.

The noise w is moved by Adam so that its image g(w) comes near the input y: E = ‖g(w) − y‖². On the way g(w) is first like the
clean picture, and only then like the damaged one; so it ends after `least_iterations` where, whichever is first,

    the image becomes less sharp: its Laplacian's variance falls (then the image before is the result),
    or the fit slows down: (E_before − E)/E_before < `tolerance`.

Their settings: Adam at 0.0015, 100 iterations at least, ε = 0.001, and g of ten steps (BIRD's). What has ended costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.solvers import Field, Solver
from code_jax.editing.mapping import THROUGH, Levels, mapped, mapping_levels
from code_jax.editing.methods import Row
from code_jax.editing.methods.adam import Moments, adam, no_moments
from code_jax.editing.methods.record import Record, record_method
from code_jax.editing.moves import moves
from code_jax.editing.route import Draw, Kind, Numbers, Route, State
from code_jax.shapes import Images, Level, PerImage, Scalar


class Fit(Record):
    """Settings of `diip`.

    Attributes:
        sigma, depth: the level of the noise, as σ or as a share of the timesteps; None of both is `LEVEL`.
        learning_rate: Adam's, of noise in units of its standard deviation.
        tolerance: relative fall of E in an iteration below which it ends.
        iterations: at most.
        least_iterations: before it may end.
        num_steps: of the mapping.
        grid: of the mapping's levels.
    """

    NAME: ClassVar[str] = "diip"

    learning_rate: Any = 0.0015
    tolerance: Any = 0.001
    iterations: int = flax.struct.field(pytree_node=False, default=300)
    least_iterations: int = flax.struct.field(pytree_node=False, default=100)
    num_steps: int = flax.struct.field(pytree_node=False, default=10)
    grid: str = flax.struct.field(pytree_node=False, default="time")


class Progress(flax.struct.PyTreeNode):
    """Where a fit is.

    Attributes:
        settings: of each image, [B].
        target: the input, [B, H, W, C].
        levels: of the mapping, [B, n + 1].
        noise: w, [B, H, W, C].
        moments: Adam's.
        error: E of the iteration before, 0 at first. [B].
        sharpness: of the image before, 0 at first. [B].
        ended: bool [B].
    """

    settings: Fit
    target: Images
    levels: Levels
    noise: Images
    moments: Moments
    error: PerImage
    sharpness: PerImage
    ended: Bool[Array, " batch"]


def sharpness(images: Images) -> PerImage:
    """Variance of the Laplacian of images [B, H, W, C] in gray, [B]."""
    gray = images.mean(axis=-1)
    inner = gray[:, 1:-1, 1:-1]
    laplacian = gray[:, :-2, 1:-1] + gray[:, 2:, 1:-1] + gray[:, 1:-1, :-2] + gray[:, 1:-1, 2:] - 4 * inner
    return jnp.var(laplacian, axis=(1, 2))


def _iteration(field: Field, numbers: Numbers, draw: Draw, solver: Solver, state: State) -> State:
    """z is the image that would be the result; it stays at σ = 0, and the noise is what moves."""
    fit: Progress = state.kept

    def error_of(noise: Images) -> tuple[Scalar, tuple[PerImage, Images]]:
        images = mapped(field, noise, fit.levels)
        errors = jnp.sum((images - fit.target) ** 2, axis=(1, 2, 3))
        return errors.sum(), (errors, images)

    (_, (error, images)), gradient = jax.value_and_grad(error_of, has_aux=True)(fit.noise)
    sharp, late = sharpness(images), fit.moments.count >= fit.settings.least_iterations
    blurs, slows = late & (sharp < fit.sharpness), late & (fit.error - error < fit.settings.tolerance * fit.error)
    step, moments = adam(gradient, fit.moments, fit.settings.learning_rate)
    kept = fit.replace(noise=fit.noise + step, moments=moments, error=error, sharpness=sharp, ended=blurs | slows)
    return state.replace(z=jnp.where(blurs[:, None, None, None], state.z, images), kept=kept)


def _start(settings: Fit, denoiser: Denoiser, images: Images, draw: Callable[[int], Images]) -> tuple[Images, Level, Progress]:
    levels = jax.vmap(lambda sigma: mapping_levels(denoiser, sigma, settings.num_steps, settings.grid))(settings.sigma)
    noise, none = draw(1), jnp.zeros(len(images), images.dtype)
    never = jnp.zeros(len(images), bool)
    fit = Progress(settings, images, levels, noise, no_moments(noise), none, none, never)
    return images, none[:, None, None, None], fit


def _route(settings: Fit, denoiser: Denoiser) -> Route:
    cost = THROUGH * settings.num_steps
    kind = Kind("fit", _iteration, lambda solver: cost, leads=False, rests=lambda state: state.kept.ended)
    still = jnp.zeros(settings.iterations, settings.sigma.dtype)
    return moves(kind, still, still, "ddim")


METHOD = record_method(
    Fit,
    "fit the input through the mapping from noise, and stop early (Chihaoui & Favaro 2025)",
    start=_start,
    route=_route,
    up=lambda settings: 0,
    upward=("sigma", "learning_rate", "tolerance"),
    rows={"diip": Row("DIIP")},
    masks=False,
    gradient=False,
    tiles=False,
)
