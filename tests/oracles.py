"""Priors with exact ε(z, σ): a Gaussian, whose probability-flow ODE has a closed solution, a mixture of two, and a texture.

Each is a function ``(params, z [B, H, W, C], sigma [B, 1, 1, 1]) -> ε``, made a prior by `prior_of`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import code_jax
from code_jax.diffusion.scaling import VariancePreserving


@dataclasses.dataclass(frozen=True)
class Network:
    """``(params, x_t, t) -> output`` that a network of a prediction type would give; equal ones are equal functions."""

    eps: Callable[..., jax.Array]
    prediction_type: str

    def __call__(self, params: Any, x: jax.Array, t: jax.Array) -> jax.Array:
        own, schedule = params
        sigma = schedule.sigma(t)[:, None, None, None]
        z = x * jnp.sqrt(1 + sigma**2)
        eps = self.eps(own, z, sigma)
        x0 = z - sigma * eps
        return {"epsilon": eps, "sample": x0, "v_prediction": (eps - sigma * x0) / jnp.sqrt(1 + sigma**2)}[self.prediction_type]


def prior_of(eps: Callable[..., jax.Array], params: Any, shape: tuple[int, ...], prediction_type: str) -> code_jax.Prior:
    """The prior of a network on DDPM's timesteps."""
    schedule = code_jax.linear_schedule()
    scaling = VariancePreserving(schedule, prediction_type)
    return code_jax.Prior((params, schedule), scaling, Network(eps, prediction_type), shape)


def gaussian(mean: jax.Array, deviation: jax.Array, prediction_type: str = "epsilon") -> code_jax.Prior:
    """N(mean, diag(deviation²)) over images of mean's shape [H, W, C]; the same whatever its network predicts."""
    return prior_of(gaussian_eps, (mean, deviation), mean.shape, prediction_type)


def gaussian_eps(params, z, sigma):
    mean, deviation = params
    return sigma * (z - mean) / (deviation**2 + sigma**2)


def gaussian_flow(mean, deviation, z, sigma_from, sigma_to):
    """The exact solution of dz/dσ = σ(z − m)/(s² + σ²): z − m scales with √(s² + σ²)."""
    return mean + (z - mean) * jnp.sqrt((deviation**2 + sigma_to**2) / (deviation**2 + sigma_from**2))


def mixture(mean: jax.Array, deviation: float) -> code_jax.Prior:
    """An even mixture of N(±mean, deviation² I)."""
    return prior_of(_mixture_eps, (mean, deviation), mean.shape, "epsilon")


def _mixture_eps(params, z, sigma):
    mean, deviation = params
    variance = deviation**2 + sigma**2
    lean = jnp.tanh(jnp.sum(z * mean, axis=(1, 2, 3), keepdims=True) / variance)
    return sigma * (z - lean * mean) / variance


def texture(side: int, length: float) -> code_jax.Prior:
    """A smooth random texture [side, side, 3]: Gaussian of covariance 0.16·exp(−d²/2ℓ²) between pixels d apart, ℓ = length."""
    places = jnp.arange(side)
    values, vectors = jnp.linalg.eigh(0.4 * jnp.exp(-((places[:, None] - places) ** 2) / (2 * length**2)))
    return prior_of(_texture_eps, (values.clip(0), vectors), (side, side, 3), "epsilon")


def texture_samples(prior: code_jax.Prior, key: jax.Array, count: int) -> jax.Array:
    """Pictures [count, side, side, 3] of a texture."""
    (values, vectors), _ = prior.params
    noise = jax.random.normal(key, (count, *prior.image_shape)) * jnp.sqrt(jnp.outer(values, values))[..., None]
    return _turned(noise, vectors.T)


def _texture_eps(params, z, sigma):
    """σ(C + σ²)⁻¹ z, in the covariance's eigenvectors."""
    values, vectors = params
    variance = jnp.outer(values, values)[..., None] + sigma**2
    return sigma * _turned(_turned(z, vectors) / variance, vectors.T)


def _turned(images, vectors):
    return jnp.einsum("bijc,ik,jl->bklc", images, vectors, vectors)
