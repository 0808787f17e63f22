"""Projections: what is done to z at the end of a move, in the order in which a route lists them.

A projection is a pytree with ``init(z, σ) -> memory`` and ``project(step, z, memory) -> (z, memory)``; it is no part of the ODE's
vector field. An image's own numbers may differ from its neighbours'.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Real

from code_jax.shapes import Images, Level

Where = Bool[Array, "batch height width channels"]
Broadcast = Real[ArrayLike, "*#shape"]


class Step(NamedTuple):
    """The move that has just been made: which one it is, and its levels, [B, 1, 1, 1]."""

    number: Int[Array, ""]
    sigma: Level
    sigma_next: Level


class Projection(Protocol):
    """See the module."""

    def init(self, z: Images, sigma: Level) -> Any:
        """What it remembers before the first move."""

    def project(self, step: Step, z: Images, memory: Any) -> tuple[Images, Any]:
        """z at the move's end, and what it remembers."""


class ConfidenceClip(flax.struct.PyTreeNode):
    """|z| ≤ R + margin, which with margin ησ is confidence-based clipping (van Delft et al. 2024, Proposition 1).

    Its memory is where it changed a value at any move, bool [B, H, W, C].

    Attributes:
        margin: beyond clean values, for each move; infinity clips nothing. [B, K].
        data_range: R, [] or [C].
    """

    margin: Float[Array, "batch moves"]
    data_range: Float[Array, "*channels"]

    def init(self, z: Images, sigma: Level) -> Where:
        """Nothing is clipped."""
        return jnp.zeros(z.shape, bool)

    def project(self, step: Step, z: Images, memory: Where) -> tuple[Images, Where]:
        """z within its bound."""
        bound = (self.data_range + self.margin[:, step.number].reshape(-1, 1, 1, 1)).astype(z.dtype)
        return jnp.clip(z, -bound, bound), memory | (jnp.abs(z) > bound)


class Composite(flax.struct.PyTreeNode):
    """A region that an edit is limited to: outside it the latent follows the input, at every noise level of the way back.

    The encoding finds, for the whole input x_0, a latent z_d at the deepest level σ_d; ε̂ = (z_d − x_0)/σ_d is the noise that it
    found in it. On the way back the input at any level σ is x_0 + σ ε̂: it starts at the encoded latent, keeps the noise that the
    inside was encoded with, and ends at x_0 itself, so that the network sees one picture across the border and brings the inside
    into line with the outside. (RePaint, Lugmayr et al. 2022, draws fresh noise at every level instead.) What difference is left
    at the border fades over the region's rim when the edit is done, in pictures (`blend`). Its memory is (z_d, σ_d).

    Attributes:
        mask: share of the edit in the result: 0 outside the region, up to 1 within it. [B, H, W, 1].
        image: x_0, [B, H, W, C].
    """

    mask: Float[Array, "batch height width 1"]
    image: Images

    def init(self, z: Images, sigma: Level) -> tuple[Images, Level]:
        """The start is the deepest level so far."""
        return z, sigma

    def project(self, step: Step, z: Images, memory: tuple[Images, Level]) -> tuple[Images, tuple[Images, Level]]:
        """Upward the latent is noted, else z outside is the input's."""
        up = step.sigma_next > step.sigma
        deepest, sigma = jnp.where(up, z, memory[0]), jnp.where(up, step.sigma_next, memory[1])
        outside = self.image + step.sigma_next / sigma * (deepest - self.image)
        return jnp.where(up | (self.mask > 0), z, outside), (deepest, sigma)

    def blend(self, edited: Images) -> Images:
        """The edit within the region, and the image outside, exactly."""
        # Not image + mask·(edited − image), which rounds: at 0 and 1 this is exact.
        return self.mask * edited + (1 - self.mask) * self.image


def clip_to_confidence(x: Float[Array, "*shape"], alpha_bar: Broadcast, eta: Broadcast) -> Float[Array, "*shape"]:
    """clip(x, ±(√ᾱ + η√(1 − ᾱ))) (van Delft et al. 2024, Proposition 1).

    For every pixel and any x_0 in [−1, 1], P(|x_t| ≤ √ᾱ_t + η√(1 − ᾱ_t)) ≥ Φ(η) − Φ(−η): η = 2 keeps 95.4 %, 1.7 keeps 91.1 %.

    Args:
        x: x_t, any shape, in VP scale.
        alpha_bar: ᾱ_t in (0, 1), broadcastable to x.
        eta: η > 0; infinity clips nothing.

    Returns:
        The clipped x, of its shape and dtype.

    Example:
        >>> clip_to_confidence(jnp.array([-3.0, 0.5, 3.0]), 0.64, 2.0).tolist()
        [-2.0, 0.5, 2.0]
    """
    alpha_bar = jnp.asarray(alpha_bar)
    bound = (jnp.sqrt(alpha_bar) + eta * jnp.sqrt(1 - alpha_bar)).astype(x.dtype)
    return jnp.clip(x, -bound, bound)
