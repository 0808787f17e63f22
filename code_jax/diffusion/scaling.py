"""How a network's inputs and outputs are scaled: from what it answers to ε(z, σ), z = x/√ᾱ the image plus σ times noise.

A scaling is a small pytree: ``sigma_range`` and ``schedule`` (`code_jax.diffusion.denoiser.Denoiser`), and ``eps``, which asks a
network ``call(x [B, H, W, C], time [B], condition) -> output`` what it must, in the scale that it was trained in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import flax.struct
import jax
import jax.numpy as jnp

from code_jax.diffusion.denoiser import Condition
from code_jax.diffusion.parameterization import to_eps
from code_jax.diffusion.schedule import NoiseSchedule

Call = Callable[[jax.Array, jax.Array, Condition], jax.Array]


class Scaling(Protocol):
    """See the module."""

    @property
    def sigma_range(self) -> tuple[jax.Array, jax.Array]:
        """Where the ODE starts, and the largest σ that it reaches. [] each."""

    @property
    def schedule(self) -> NoiseSchedule | None:
        """The training timesteps, where there are any."""

    def eps(self, call: Call, z: jax.Array, sigma: jax.Array, condition: Condition) -> jax.Array:
        """ε of z [B, H, W, C] at σ [] or [B, 1, 1, 1]."""


class VariancePreserving(flax.struct.PyTreeNode):
    """A network that takes x_t = √ᾱ z and a float timestep (Ho et al. 2020).

    Attributes:
        schedule: of its training.
        prediction_type: what it answers: "epsilon", "v_prediction" or "sample"; static.
    """

    schedule: NoiseSchedule
    prediction_type: str = flax.struct.field(pytree_node=False, default="epsilon")

    @property
    def sigma_range(self) -> tuple[jax.Array, jax.Array]:
        """σ_0, and σ at depth 1."""
        return self.schedule.sigma(0.0), self.schedule.sigma(self.schedule.last)

    def eps(self, call: Call, z: jax.Array, sigma: jax.Array, condition: Condition) -> jax.Array:
        """ε of z [B, H, W, C] at σ [] or [B, 1, 1, 1]."""
        t = jnp.broadcast_to(self.schedule.t_of_sigma(sigma).astype(z.dtype).ravel(), z.shape[:1])
        return self.eps_at_timestep(call, z * jax.lax.rsqrt(1 + sigma**2), t, sigma, condition)

    def eps_at_timestep(self, call: Call, x: jax.Array, t: jax.Array, sigma: jax.Array, condition: Condition) -> jax.Array:
        """ε of x_t [B, H, W, C] at float timesteps [B], whose σ is [] or [B, 1, 1, 1]."""
        return to_eps(self.prediction_type, call(x, t, condition), x, sigma)


class Direct(flax.struct.PyTreeNode):
    """A function of z and σ [B] that answers with ε itself.

    Attributes:
        sigma_min, sigma_max: where the ODE starts, and how far it reaches.
    """

    sigma_min: jax.typing.ArrayLike
    sigma_max: jax.typing.ArrayLike

    @property
    def sigma_range(self) -> tuple[jax.Array, jax.Array]:
        """As stated."""
        return jnp.asarray(self.sigma_min, float), jnp.asarray(self.sigma_max, float)

    @property
    def schedule(self) -> None:
        """There are no timesteps."""
        return None

    def eps(self, call: Call, z: jax.Array, sigma: jax.Array, condition: Condition) -> jax.Array:
        """ε of z [B, H, W, C] at σ [] or [B, 1, 1, 1]."""
        return call(z, jnp.broadcast_to(jnp.ravel(sigma), z.shape[:1]).astype(z.dtype), condition)
