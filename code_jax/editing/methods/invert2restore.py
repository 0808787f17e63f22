"""Invert2Restore (Chihaoui & Favaro 2025, arXiv 2503.21486): the noise that DDIM maps to the input is made likely.

A clean picture's noise is a draw of N(0, I); that of a damaged one has patches that are not. A patch of d values is likely where
its mean and its variance lie within the intervals that hold those of N(0, I) but for a share p of draws:

    |m| ≤ Φ⁻¹(1 − p/2)/√d,    χ²(p/2) ≤ Σ(x − m)² ≤ χ²(1 − p/2) of d − 1 degrees of freedom,

by Wilson & Hilferty's (1931) χ²(q) ≈ k(1 − 2/(9k) + Φ⁻¹(q)√(2/(9k)))³. A patch outside is moved to the nearest point inside: its
mean is shifted and its deviations are scaled; one inside is left as it is. The text at hand told of patches, a test of normality
and a move towards higher density; these two tests, the nearest point, and the patches' size are this file's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import flax.struct
import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, Float, Int

from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.levels import noise_levels
from code_jax.diffusion.projections import Step
from code_jax.diffusion.solvers import find_solver
from code_jax.editing.methods import Row
from code_jax.editing.methods.record import Record, record_method
from code_jax.editing.moves import last_move, ode_moves, start_move
from code_jax.editing.route import Route
from code_jax.shapes import Images, Level, PerImage, Scalar


class Inversion(Record):
    """Settings of `invert2restore`.

    Attributes:
        sigma, depth: the level of the noise, as σ or as a share of the timesteps; None of both is `LEVEL`.
        p_value: p in (0, 1), the share of likely patches that are taken for unlikely by either test.
        patch: side of the patches, all channels together; the last ones are smaller where it does not divide the picture.
        num_steps: of the ODE, each way.
        solver, grid: of the ODE.
    """

    NAME: ClassVar[str] = "invert2restore"
    LEVEL: ClassVar[float] = 12.0  # σ of depth 0.7 on DDPM's schedule

    p_value: Any = 0.05
    patch: int = flax.struct.field(pytree_node=False, default=8)
    num_steps: int = flax.struct.field(pytree_node=False, default=50)
    solver: str = flax.struct.field(pytree_node=False, default="ddim")
    grid: str = flax.struct.field(pytree_node=False, default="time")


def likely(noise: Images, p_value: PerImage | Scalar, patch: int) -> Images:
    """The nearest noise [B, H, W, C] whose patches are all likely; p_value is [] or [B]."""
    batch, height, width, channels = noise.shape
    across = -(-width // patch)
    which = (jnp.arange(height)[:, None] // patch) * across + jnp.arange(width) // patch
    count = -(-height // patch) * across
    flat, places = noise.reshape(batch, -1, channels), which.ravel()

    def summed(values: Float[Array, "batch pixels"]) -> Float[Array, "batch patches"]:
        return jnp.zeros((batch, count), values.dtype).at[:, places].add(values)

    size = channels * summed(jnp.ones((batch, height * width), noise.dtype))
    mean = summed(flat.sum(axis=-1)) / size
    deviation = flat - mean[:, places, None]
    squares = summed((deviation**2).sum(axis=-1))
    least, most = (_chi_squared(share, size - 1) for share in (p_value / 2, 1 - p_value / 2))
    scale = jnp.sqrt(jnp.clip(squares, least, most) / jnp.maximum(squares, jnp.finfo(noise.dtype).tiny))
    bound = norm.ppf(1 - p_value / 2).reshape(-1, 1) / jnp.sqrt(size)
    moved = jnp.clip(mean, -bound, bound)[:, places, None] + scale[:, places, None] * deviation
    return moved.reshape(noise.shape).astype(noise.dtype)


def _chi_squared(share: PerImage | Scalar, freedom: Float[Array, "batch patches"]) -> Float[Array, "batch patches"]:
    """The quantile, by Wilson & Hilferty. [B, K]."""
    spread = 2 / (9 * freedom)
    return freedom * (1 - spread + norm.ppf(jnp.asarray(share)).reshape(-1, 1) * jnp.sqrt(spread)) ** 3


class Likely(flax.struct.PyTreeNode):
    """A projection that makes the noise of one move's end likely.

    Attributes:
        number: of the move. int [B].
        p_value: [B].
        patch: static.
    """

    number: Int[Array, " batch"]
    p_value: PerImage
    patch: int = flax.struct.field(pytree_node=False)

    def init(self, z: Images, sigma: Level) -> None:
        """It remembers nothing."""

    def project(self, step: Step, z: Images, memory: None) -> tuple[Images, None]:
        """z, made likely where this is the move."""
        scale = jnp.sqrt(1 + step.sigma_next**2)
        here = (step.number == self.number).reshape(-1, 1, 1, 1)
        return jnp.where(here, scale * likely(z / scale, self.p_value.astype(z.dtype), self.patch), z), memory


def _start(settings: Inversion, denoiser: Denoiser, images: Images, draw: Callable[[int], Images]) -> tuple[Images, Level]:
    return images, jnp.broadcast_to(denoiser.sigma_range[0].astype(images.dtype), (len(images), 1, 1, 1))


def _route(settings: Inversion, denoiser: Denoiser) -> Route:
    solver, low = settings.solver, denoiser.sigma_range[0]
    up = noise_levels(denoiser, low, settings.sigma, settings.num_steps, settings.grid)
    route = start_move(up[0], solver) + ode_moves(up, solver) + start_move(up[-1], solver) + ode_moves(up[::-1], solver)
    own = Likely(jnp.asarray(_up(settings) - 1), settings.p_value, settings.patch)
    return (route + last_move(up[0], solver)).replace(own=own)


def _up(settings: Inversion) -> int:
    return settings.num_steps + find_solver(settings.solver).reversible


METHOD = record_method(
    Inversion,
    "encode, make the noise of every patch likely, decode (Chihaoui & Favaro 2025)",
    start=_start,
    route=_route,
    up=_up,
    upward=("sigma", "p_value"),
    rows={"invert2restore": Row("Invert2Restore")},
)
