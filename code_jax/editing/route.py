"""A route: the moves that carry an image through noise levels and back, and the one loop that runs any route.

In z = x/√ᾱ a method is a list of moves, each of a `Kind`. Most are a step of the ODE from σ to σ' by a solver, or

    z ← z + a·ε(z, σ) + b·n,

which is Langevin at σ (any form), an ancestral step (DDIM with η = 1), the last Euler step to σ = 0, or without ε the way up
by noise. At its end z goes through the route's projections in their order. The loop holds one copy of each kind however long
the route is (with a solver of one evaluation at (z, σ), one copy of the network for all of them), draws its noise from (image's
key, number of the draw), and runs from any move to any other: cut into segments it gives the same images.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, ScalarLike

from code_jax.diffusion.denoiser import Condition, Denoiser
from code_jax.diffusion.projections import Composite, ConfidenceClip, Projection, Step
from code_jax.diffusion.solvers import Field, Solver, find_solver
from code_jax.shapes import Images, KeyPerImage, Level, PerImage

ORDER = ("clip", "own", "region")  # of the projections: what a method has of its own acts on what is clipped, a region on all

Column = Float[Array, "*batch moves"]
Draw = Callable[[], Images]
_COLUMNS = ("sigma", "sigma_next", "eps_coefficient", "noise_coefficient", "margin")  # of a `Route`, one number for each move


class State(flax.struct.PyTreeNode):
    """Where the images are on their route.

    Attributes:
        z: x/√ᾱ, [B, H, W, C].
        sigma: its level, [B, 1, 1, 1].
        nfe: network evaluations made, int32 [B].
        squared_eps: mean ε² per dimension at the last correction; about 1 on a typical latent, negative before there is one. [B].
        memory: what the solver remembers.
        projected: what each projection remembers, by its name in `ORDER`.
        codec_error: mean squared difference of the pictures to what a codec alone gives back of them; 0 without one. [B].
        kept: what the method's own moves remember.
    """

    z: Images
    sigma: Level
    nfe: Int[Array, " batch"]
    squared_eps: PerImage
    memory: Any
    projected: dict[str, Any]
    codec_error: PerImage
    kept: Any = None


class Numbers(NamedTuple):
    """A move's numbers, [B, 1, 1, 1] each."""

    sigma: Level
    sigma_next: Level
    eps_coefficient: Level
    noise_coefficient: Level


class Kind(NamedTuple):
    """A kind of move.

    Attributes:
        name: of it.
        move: ``(field, numbers, draw, solver, state) -> state``, with another z, and memory, squared_eps or kept.
        evaluations: of the network, by the solver.
        draws: whether it uses noise.
        leads: whether its first evaluation is the field at (z, σ), which the loop may then make for it.
        of: the denoiser whose field it asks.
        rests: ``state -> bool [B]``, the images that do not make it; None is none of them.
    """

    name: str
    move: Callable[[Field, Numbers, Draw, Solver, State], State]
    evaluations: Callable[[Solver], int]
    draws: bool = False
    leads: bool = True
    of: Callable[[Denoiser], Denoiser] = lambda denoiser: denoiser
    rests: Callable[[State], Bool[Array, " batch"]] | None = None


def _along_ode(field: Field, numbers: Numbers, draw: Draw, solver: Solver, state: State) -> State:
    z, memory = solver.step(field, numbers.sigma, numbers.sigma_next, state.z, state.memory)
    return state.replace(z=z, memory=memory)


def _affine(field: Field, numbers: Numbers, draw: Draw, solver: Solver, state: State) -> State:
    sigma, sigma_next, a, b = numbers
    eps = field(state.z, sigma)
    z = state.z + a * eps + b * draw()
    corrects = (b > 0) | ((sigma_next == sigma) & (a != 0))  # neither an Euler step nor a start
    squared = jnp.where(corrects.ravel(), jnp.mean(eps**2, axis=(1, 2, 3)), state.squared_eps)
    memory = solver.settle(solver.jump(state.memory, state.z, z), z, eps)
    return state.replace(z=z, squared_eps=squared, memory=memory)


ODE = Kind("ode", _along_ode, lambda solver: solver.evaluations)


def _noised(field: Field, numbers: Numbers, draw: Draw, solver: Solver, state: State) -> State:
    return state.replace(z=state.z + numbers.noise_coefficient * draw())


AFFINE = Kind("affine", _affine, lambda solver: 1, draws=True)
NOISE = Kind("noise", _noised, lambda solver: 0, draws=True, leads=False)


class Route(flax.struct.PyTreeNode):
    """Moves in order, one entry each: K of one image, or [B, K].

    Attributes:
        sigma, sigma_next: noise level before and after the move. [..., K].
        eps_coefficient, noise_coefficient: a and b of an affine move. [..., K].
        margin: |z| is clipped to the data's range and this after the move; infinity where nothing is clipped. [..., K].
        active: whether the move is made, and counted; None where all are. bool [..., K].
        own: a projection of the method's own; None where there is none.
        kinds: of each move, static.
        solver: name of the ODE's solver, static.
        averaged: whether the noise of draw k is (n_k + n_{k+1})/2 (`langevin_coefficients`), static.
        order: of the projections, static.
    """

    sigma: Column
    sigma_next: Column
    eps_coefficient: Column
    noise_coefficient: Column
    margin: Column
    active: Bool[Array, "*batch moves"] | None = None
    own: Any = None
    kinds: tuple[Kind, ...] = flax.struct.field(pytree_node=False, default=())
    solver: str = flax.struct.field(pytree_node=False, default="ddim")
    averaged: bool = flax.struct.field(pytree_node=False, default=False)
    order: tuple[str, ...] = flax.struct.field(pytree_node=False, default=ORDER)

    def cost(self, denoiser: Denoiser) -> Int[np.ndarray, " moves"]:
        """Network evaluations of each move, int [K]."""
        solver = find_solver(self.solver)
        return np.array([kind.evaluations(solver) for kind in self.kinds], int) * denoiser.evaluations

    def draws(self) -> Int[np.ndarray, " moves"]:
        """The number of each move's draw of noise, int [K]: other steps of the ODE, or another solver, leave the noise as it is.

        A number is left out between runs of moves that draw, so that averaged noise shares no draw with that of another level.
        """
        drawing = np.array([kind.draws for kind in self.kinds], bool)
        begins = drawing & ~np.append(False, drawing[:-1])
        return np.maximum(np.cumsum(drawing) - drawing + np.cumsum(begins) - 1, 0)

    def __add__(self, other: Route) -> Route:
        """One route after the other; both without `active` and `own`."""
        joined = {name: jnp.concatenate([getattr(self, name), getattr(other, name)], -1) for name in _COLUMNS}
        return self.replace(**joined, kinds=self.kinds + other.kinds, averaged=self.averaged or other.averaged)

    def ordered(self, order: np.ndarray) -> Route:
        """Its moves in another order, int [K]; without `active` and `own`."""
        moved = {name: getattr(self, name)[..., order] for name in _COLUMNS}
        return self.replace(**moved, kinds=tuple(self.kinds[k] for k in order))

    def projections(self, denoiser: Denoiser, region: Composite | None) -> dict[str, Projection]:
        """Those of its `order`, by name."""
        clip = ConfidenceClip(self.margin, jnp.asarray(denoiser.data_range, self.margin.dtype))
        named: Mapping[str, Any] = {"clip": clip, "own": self.own, "region": region}
        return {name: named[name] for name in self.order if named[name] is not None}


def init(z: Images, sigma: Level, route: Route, projections: Mapping[str, Projection], kept: Any = None) -> State:
    """The start of a route [B, K], at z [B, H, W, C] and σ [B, 1, 1, 1]."""
    projected = {name: projection.init(z, sigma) for name, projection in projections.items()}
    none = jnp.full(len(z), -1, z.dtype)
    zero = jnp.zeros(len(z), z.dtype)
    return State(z, sigma, jnp.zeros(len(z), jnp.int32), none, find_solver(route.solver).init(z), projected, zero, kept)


def run(
    keys: KeyPerImage, denoiser: Denoiser, route: Route, projections: Mapping[str, Projection], state: State,
    first: ScalarLike, last: ScalarLike, condition: Condition = None,
) -> State:  # fmt: skip
    """Makes the moves first..last − 1 (traced, they have no gradient: `repeat`). keys: one per image, [B]."""
    solver, kinds = find_solver(route.solver), tuple(dict.fromkeys(route.kinds))
    columns = [*map(kinds.index, route.kinds)], route.draws(), route.cost(denoiser)
    which, draws, costs = map(jnp.array, columns)

    def leads(kind: Kind) -> bool:
        """Whether the loop can make its one evaluation for it."""
        return solver.leads and kind.leads and kind.of is AFFINE.of

    leading = [leads(kind) for kind in kinds]

    def shared(state: State, sigma: Level, k: jax.Array) -> Images | None:
        """ε at the beginning of a move that is led: evaluated in one place, so that the network is in the program once."""
        if not any(leading):
            return None
        evaluate = lambda: denoiser.eps_at(state.z, sigma, condition)  # noqa: E731
        if all(leading):
            return evaluate()
        return jax.lax.cond(jnp.array(leading)[which[k]], evaluate, lambda: jnp.zeros_like(state.z))

    def number(column: Column, k: jax.Array) -> Level:
        return column[:, k].reshape(-1, 1, 1, 1).astype(state.z.dtype)

    def noise(number: jax.Array) -> Images:
        shape, dtype = state.z.shape[1:], state.z.dtype
        return jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, number), shape, dtype))(keys)

    def draw(k: jax.Array) -> Images:
        return (noise(draws[k]) + noise(draws[k] + 1)) / 2 if route.averaged else noise(draws[k])

    def active(k: jax.Array, state: State) -> Bool[Array, " batch"] | None:
        """The images that make a move, bool [B]; None where all do."""
        if not any(kind.rests for kind in kinds):
            return None if route.active is None else route.active[:, k]
        none = jnp.zeros(len(state.z), bool)
        resting = jax.lax.switch(which[k], [kind.rests or (lambda state: none) for kind in kinds], state)
        return ~resting if route.active is None else ~resting & route.active[:, k]

    def move(k: jax.Array, state: State) -> State:
        making = active(k, state)
        if making is None:
            return made(k, state)
        return jax.lax.cond(jnp.any(making), lambda: _chosen(making, made(k, state), state), lambda: state)

    def made(k: jax.Array, state: State) -> State:
        columns = (route.sigma, route.sigma_next, route.eps_coefficient, route.noise_coefficient)
        numbers = Numbers(*(number(column, k) for column in columns))
        eps = shared(state, numbers.sigma, k)

        def by(kind: Kind) -> Callable[[State], State]:
            field: Field = functools.partial(kind.of(denoiser).eps_at, condition=condition)
            if eps is not None and leads(kind):
                field = lambda z, sigma: eps  # noqa: E731
            return lambda state: kind.move(field, numbers, functools.partial(draw, k), solver, state)

        state = jax.lax.switch(which[k], [by(kind) for kind in kinds], state) if len(kinds) > 1 else by(kinds[0])(state)
        state = _projected(projections, Step(k, numbers.sigma, numbers.sigma_next), solver, state)
        return state.replace(sigma=numbers.sigma_next, nfe=state.nfe + costs[k].astype(jnp.int32))

    return repeat(move, first, last, state)


def repeat(
    move: Callable[[jax.Array, State], State], first: jax.typing.ArrayLike, last: jax.typing.ArrayLike, state: State
) -> State:  # fmt: skip
    """``jax.lax.fori_loop(first, last, move, state)``, whose gradient remembers about 2√n states of n moves, and one move.

    For that first and last are whole numbers: what is traced has no gradient backwards. The state at the beginning of each of √n
    segments is kept; from it the segment's own are made again, and from those its moves (Griewank & Walther 2000, in two levels).
    """
    if not isinstance(first, int) or not isinstance(last, int):
        return jax.lax.fori_loop(first, last, move, state)
    length = math.isqrt(max(last - first - 1, 0)) + 1

    @jax.checkpoint
    def segment(number: jax.Array, state: State) -> State:
        @jax.checkpoint  # around the condition: what a condition remembers of weights, the loop would keep for every move
        def one(i: jax.Array, state: State) -> State:
            k = first + number * length + i
            return jax.lax.cond(k < last, move, lambda k, state: state, k, state)

        return jax.lax.fori_loop(0, length, one, state)

    return jax.lax.fori_loop(0, -(-(last - first) // length), segment, state)


def _projected(projections: Mapping[str, Projection], step: Step, solver: Solver, state: State) -> State:
    z, remembered = state.z, dict(state.projected)
    for name, projection in projections.items():
        z, remembered[name] = projection.project(step, z, remembered[name])
    return state.replace(z=z, memory=solver.jump(state.memory, state.z, z), projected=remembered)


def _chosen(active: Bool[Array, " batch"], made: State, left: State) -> State:
    """The state of each image after its move, or as it was left."""
    return jax.tree.map(lambda a, b: jnp.where(active.reshape(-1, *[1] * (a.ndim - 1)), a, b), made, left)
