"""What the samplers ask of a prior: ε at any noise level, and the schedule that defines the levels."""

from __future__ import annotations

from typing import Protocol

import jax
import jax.numpy as jnp

from code_jax.diffusion.schedule import NoiseSchedule


class Denoiser(Protocol):
    """Anything that answers with ε, a `code_jax.Prior` or a wrapper around one."""

    @property
    def schedule(self) -> NoiseSchedule:
        """The noise schedule."""

    def eps(self, x: jax.Array, t: jax.Array) -> jax.Array:
        """ε(x_t, t) [B, H, W, C] at float timesteps t [B]."""


def eps_at(denoiser: Denoiser, z: jax.Array, sigma: jax.Array) -> jax.Array:
    """ε of z = x/√ᾱ [B, H, W, C]: the field of the probability-flow ODE dz/dσ = ε(√ᾱ z, t(σ)); σ is [] or [B, 1, 1, 1]."""
    t = denoiser.schedule.t_of_sigma(sigma).astype(z.dtype)
    return denoiser.eps(z * jax.lax.rsqrt(1 + sigma**2), jnp.broadcast_to(t.ravel(), z.shape[:1]))
