"""The moves that methods are made of, each a `Route` of one image, to be added up."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from code_jax.diffusion.langevin import langevin_coefficients
from code_jax.diffusion.solvers import find_solver
from code_jax.editing.route import AFFINE, NOISE, ODE, Kind, Route
from code_jax.shapes import Scalar

Moves = Float[Array, " moves"]
Levels = Float[Array, " moves_and_1"]


def moves(
    kind: Kind, sigma: Moves, sigma_next: Moves, solver: str,
    eps_coefficient: ArrayLike = 0.0, noise_coefficient: ArrayLike = 0.0, margin: ArrayLike = jnp.inf,
) -> Route:  # fmt: skip
    """Moves of one kind from σ to σ', [n] each."""
    given = (sigma, sigma_next, eps_coefficient, noise_coefficient, margin)
    sigma, after, a, b, margin = (jnp.broadcast_to(jnp.asarray(column, sigma.dtype), sigma.shape) for column in given)
    return Route(sigma, after, a, b, margin, kinds=(kind,) * len(sigma), solver=solver)


def ode_moves(sigmas: Levels, solver: str, eta: ArrayLike = jnp.inf) -> Route:
    """Solver steps along σ [n + 1], each followed by clipping with margin ησ."""
    unbounded = jnp.isinf(eta)
    # Not ∞·σ, whose derivative by σ is ∞ and in the gradient 0·∞.
    margin = jnp.where(unbounded, jnp.inf, jnp.where(unbounded, 0, eta) * sigmas[1:])
    return moves(ODE, sigmas[:-1], sigmas[1:], solver, margin=margin)


def start_move(sigma: Scalar, solver: str) -> Route:
    """The evaluation at σ [] from which a reversible solver sets out; no move at all for another solver."""
    sigmas = sigma[None][: find_solver(solver).reversible]
    return moves(AFFINE, sigmas, sigmas, solver)


def langevin_moves(sigma: Scalar | Moves, relative_steps: Moves, kind: str, solver: str) -> Route:
    """Langevin steps of dimensionless sizes h/(1 − ᾱ) [n] at noise level σ, [] or of each [n]."""
    a, b = langevin_coefficients(kind, relative_steps)
    sigmas = jnp.broadcast_to(sigma, relative_steps.shape)
    return moves(AFFINE, sigmas, sigmas, solver, sigma * a, sigma * b).replace(averaged=kind == "averaged")


def ancestral_moves(sigmas: Levels, solver: str, kind: Kind = AFFINE) -> Route:
    """DDIM steps with η = 1 along decreasing σ [n + 1], the last of which may be 0 (Song, Meng & Ermon 2021, equation 12).

    Another kind is given the same numbers.
    """
    now, after = sigmas[:-1], sigmas[1:]
    b = after * jnp.sqrt(jnp.maximum(1 - (after / now) ** 2, 0))
    return moves(kind, now, after, solver, after**2 / now - now, b)


def last_move(sigma: Scalar, solver: str) -> Route:
    """The Euler step from σ [] to 0: the predicted x_0."""
    return moves(AFFINE, sigma[None], jnp.zeros_like(sigma)[None], solver, -sigma)


def noise_move(sigma: Scalar, sigma_next: Scalar, solver: str) -> Route:
    """From σ [] up to σ' [] by noise alone, at no evaluation."""
    return moves(NOISE, sigma[None], sigma_next[None], solver, 0.0, jnp.sqrt(sigma_next**2 - sigma**2))


def anneal(rate: Scalar, steps: int, levels: int) -> Float[Array, " steps"]:
    """γ^j for each of the steps, shared evenly among levels j = 0..levels − 1; fewer steps leave out the last levels. [steps]."""
    return rate ** jnp.array(np.arange(steps) * levels // max(steps, 1), rate.dtype)
