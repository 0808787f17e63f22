"""A route: the moves that carry an image through noise levels and back, and the one loop that follows any route.

In z = x/√ᾱ every method is a list of moves of two kinds: a step of the ODE from σ to σ' by a diffrax solver, or

    z ← z + a·ε(z, σ) + b·n,

which is Langevin at σ (either form), an ancestral step (DDIM with η = 1), or the last Euler step to σ = 0. After a move z is
clipped to ±(1 + ησ'), which is confidence-based clipping in this scale; η = ∞ clips nothing. The loop holds one copy of each
kind of move however long the route is (with DDIM one copy of the network for both kinds), draws its noise from (image's key,
number of the draw), and runs from any move to any other: cut into segments it gives the same images.
"""

from __future__ import annotations

import functools

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from code_jax.diffusion.denoiser import Denoiser, eps_at
from code_jax.diffusion.langevin import langevin_coefficients
from code_jax.diffusion.probability_flow import NFE_PER_STEP, REVERSIBLE, Field, Memory, find_solver, ode_step
from code_jax.editing.region import Region

ODE, AFFINE = 0, 1


class Route(flax.struct.PyTreeNode):
    """Moves in order, one entry each: K for all images alike, or for each its own [B, K].

    Attributes:
        sigma, sigma_next: noise level before and after the move. float32 [..., K].
        eps_coefficient, noise_coefficient: a and b of an affine move, unused by ODE moves. float32 [..., K].
        bound: |z| is clipped to it after the move; infinity where nothing is clipped. float32 [..., K].
        kinds: `ODE` or `AFFINE` for each move, static.
        solver: name of the ODE's solver, static.
        averaged: whether the noise of draw k is (n_k + n_{k+1})/2 (`langevin_coefficients`), static.
    """

    sigma: jax.Array
    sigma_next: jax.Array
    eps_coefficient: jax.Array
    noise_coefficient: jax.Array
    bound: jax.Array
    kinds: tuple[int, ...] = flax.struct.field(pytree_node=False)
    solver: str = flax.struct.field(pytree_node=False, default="ddim")
    averaged: bool = flax.struct.field(pytree_node=False, default=False)

    @property
    def nfe(self) -> int:
        """Number of network evaluations of the whole route."""
        return int(self.cost().sum())

    def cost(self) -> np.ndarray:
        """Network evaluations of each move, int [K]."""
        return np.where(np.array(self.kinds) == ODE, NFE_PER_STEP[self.solver], 1)

    def draws(self) -> np.ndarray:
        """The number of each move's draw of noise, int [K]: other steps of the ODE, or another solver, leave the noise as it is.

        A number is left out between runs of affine moves, so that averaged noise shares no draw with that of another level.
        """
        affine = np.array(self.kinds) == AFFINE
        begins = affine & ~np.append(False, affine[:-1])
        return np.maximum(np.cumsum(affine) - affine + np.cumsum(begins) - 1, 0)

    def __add__(self, other: Route) -> Route:
        arrays = jax.tree.map(
            lambda a, b: jnp.concatenate([a, b], -1), *(r.replace(kinds=(), averaged=False) for r in (self, other))
        )
        return arrays.replace(kinds=self.kinds + other.kinds, averaged=self.averaged or other.averaged)


def _route(
    kind: int, sigma: jax.Array, sigma_next: jax.Array, a: jax.Array, b: jax.Array, bound: jax.Array, solver: str
) -> Route:
    sigma, sigma_next, a, b, bound = (
        jnp.broadcast_to(column, sigma.shape).astype(sigma.dtype) for column in (sigma, sigma_next, a, b, bound)
    )
    return Route(sigma, sigma_next, a, b, bound, kinds=(kind,) * len(sigma), solver=solver)


def ode_moves(sigmas: jax.Array, solver: str, eta: jax.Array | float = jnp.inf) -> Route:
    """Solver steps along σ [n + 1], each followed by clipping to 1 + ησ."""
    zero, unbounded = jnp.zeros(()), jnp.isinf(eta)
    # Not ∞·σ, whose derivative by σ is ∞ and in the depth's gradient 0·∞.
    bound = jnp.where(unbounded, jnp.inf, 1 + jnp.where(unbounded, 0, eta) * sigmas[1:])
    return _route(ODE, sigmas[:-1], sigmas[1:], zero, zero, bound, solver)


def restart_move(sigma: jax.Array, solver: str) -> Route:
    """The evaluation at σ [] from which a reversible solver sets out; no move at all for another solver."""
    sigmas = jnp.atleast_1d(sigma)[: solver in REVERSIBLE]
    zero = jnp.zeros(())
    return _route(AFFINE, sigmas, sigmas, zero, zero, jnp.array(jnp.inf), solver)


def langevin_moves(sigma: jax.Array, relative_steps: jax.Array, kind: str, solver: str) -> Route:
    """Langevin steps of dimensionless sizes h/(1 − ᾱ) [n] at noise level σ []."""
    a, b = langevin_coefficients(kind, relative_steps)
    sigmas = jnp.broadcast_to(sigma, relative_steps.shape)
    route = _route(AFFINE, sigmas, sigmas, sigma * a, sigma * b, jnp.array(jnp.inf), solver)
    return route.replace(averaged=kind == "averaged")


def ancestral_moves(sigmas: jax.Array, solver: str) -> Route:
    """DDIM steps with η = 1 along decreasing σ [n + 1], the last of which may be 0 (Song, Meng & Ermon 2021, equation 12)."""
    now, after = sigmas[:-1], sigmas[1:]
    a = after**2 / now - now
    b = after * jnp.sqrt(jnp.maximum(1 - (after / now) ** 2, 0))
    return _route(AFFINE, now, after, a, b, jnp.array(jnp.inf), solver)


def last_move(sigma: jax.Array, solver: str) -> Route:
    """The Euler step from σ to 0: the predicted x_0."""
    sigma = sigma[None]
    return _route(AFFINE, sigma, jnp.zeros_like(sigma), -sigma, jnp.zeros(()), jnp.array(jnp.inf), solver)


class Travel(flax.struct.PyTreeNode):
    """Where the images are on their route.

    Attributes:
        z: x/√ᾱ, [B, H, W, C].
        clipped: True where clipping changed a value at any move. bool [B, H, W, C].
        squared_eps: mean ε² per dimension at the last affine move but the final one; about 1 on a typical latent. [B].
        region: what the change is limited to; None is the whole image.
        memory: what a reversible solver remembers, a shadow of z and the slope at it; None for another.
    """

    z: jax.Array
    clipped: jax.Array
    squared_eps: jax.Array
    region: Region | None = None
    memory: Memory = None


def depart(z: jax.Array, region: Region | None = None, solver: str = "ddim") -> Travel:
    """The start of a route."""
    memory = (z, jnp.zeros_like(z)) if solver in REVERSIBLE else None
    return Travel(z, jnp.zeros(z.shape, bool), jnp.full(z.shape[0], jnp.nan, z.dtype), region, memory)


def follow(
    keys: jax.Array, denoiser: Denoiser, route: Route, travel: Travel, first: jax.typing.ArrayLike, last: jax.typing.ArrayLike
) -> Travel:
    """Makes the moves first..last − 1 (both may be traced). keys: one per image, [B]."""
    solver, kinds, draws = find_solver(route.solver), jnp.array(route.kinds), jnp.array(route.draws())

    def number(column: jax.Array, k: jax.Array) -> jax.Array:
        return column[..., k].reshape(-1, 1, 1, 1)

    def draw(k: jax.Array) -> jax.Array:
        shape, dtype = travel.z.shape[1:], travel.z.dtype
        return jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, k), shape, dtype))(keys)

    def along_ode(field: Field, k: jax.Array, travel: Travel) -> Travel:
        z, memory = ode_step(solver, field, number(route.sigma, k), number(route.sigma_next, k), travel.z, travel.memory)
        return travel.replace(z=z, memory=memory)

    def affine(field: Field, k: jax.Array, travel: Travel) -> Travel:
        z, a, b = travel.z, number(route.eps_coefficient, k), number(route.noise_coefficient, k)
        eps = field(z, number(route.sigma, k))
        noise = (draw(draws[k]) + draw(draws[k] + 1)) / 2 if route.averaged else draw(draws[k])
        keep = (number(route.sigma_next, k) == 0) | (a == 0)  # the last move, or a restart, which correct nothing
        squared = jnp.where(keep.ravel(), travel.squared_eps, jnp.mean(eps**2, axis=(1, 2, 3)))
        z = z + a * eps + b * noise
        memory = None if travel.memory is None else (z, eps)
        return travel.replace(z=z, squared_eps=squared, memory=memory)

    def move(k: jax.Array, travel: Travel) -> Travel:
        field: Field = functools.partial(eps_at, denoiser)
        if route.solver == "ddim":  # its one slope is what an affine move asks for: evaluated here, the network is there once
            eps = field(travel.z, number(route.sigma, k))
            field = lambda z, sigma: eps  # noqa: E731
        branches = functools.partial(along_ode, field), functools.partial(affine, field)
        if len(set(route.kinds)) == 1:
            travel = branches[route.kinds[0]](k, travel)
        else:
            travel = jax.lax.switch(kinds[k], branches, k, travel)
        bound, moved = number(route.bound, k), travel.z
        travel = travel.replace(z=jnp.clip(moved, -bound, bound), clipped=travel.clipped | (jnp.abs(moved) > bound))
        if travel.region is not None:
            z, region = travel.region.after(travel.z, number(route.sigma, k), number(route.sigma_next, k))
            travel = travel.replace(z=z, region=region)
        if travel.memory is not None:  # what moves z moves its shadow
            shadow, slope = travel.memory
            travel = travel.replace(memory=(shadow + (travel.z - moved), slope))
        return travel

    return jax.lax.fori_loop(first, last, move, travel)
