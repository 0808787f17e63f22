"""Priors with exact scores: a Gaussian, whose probability-flow ODE has a closed solution, and a mixture of two."""

from __future__ import annotations

import jax
import jax.numpy as jnp

import code_jax


def gaussian(mean: jax.Array, deviation: jax.Array) -> code_jax.Prior:
    """N(mean, diag(deviation²)) over images of mean's shape [H, W, C]."""
    schedule = code_jax.linear_schedule()
    return code_jax.Prior.from_function(_gaussian_eps, (mean, deviation, schedule), schedule, mean.shape)


def _gaussian_eps(params, x, t):
    mean, deviation, schedule = params
    sigma = schedule.sigma(t)[:, None, None, None]
    z = x * jnp.sqrt(1 + sigma**2)
    return sigma * (z - mean) / (deviation**2 + sigma**2)


def gaussian_flow(mean, deviation, z, sigma_from, sigma_to):
    """The exact solution of dz/dσ = σ(z − m)/(s² + σ²): z − m scales with √(s² + σ²)."""
    return mean + (z - mean) * jnp.sqrt((deviation**2 + sigma_to**2) / (deviation**2 + sigma_from**2))


def mixture(mean: jax.Array, deviation: float) -> code_jax.Prior:
    """An even mixture of N(±mean, deviation² I)."""
    schedule = code_jax.linear_schedule()
    return code_jax.Prior.from_function(_mixture_eps, (mean, deviation, schedule), schedule, mean.shape)


def _mixture_eps(params, x, t):
    mean, deviation, schedule = params
    sigma = schedule.sigma(t)[:, None, None, None]
    z = x * jnp.sqrt(1 + sigma**2)
    variance = deviation**2 + sigma**2
    lean = jnp.tanh(jnp.sum(z * mean, axis=(1, 2, 3), keepdims=True) / variance)
    return sigma * (z - lean * mean) / variance


def texture(side: int, length: float) -> code_jax.Prior:
    """A smooth random texture [side, side, 3]: Gaussian of covariance 0.16·exp(−d²/2ℓ²) between pixels d apart, ℓ = length."""
    places = jnp.arange(side)
    values, vectors = jnp.linalg.eigh(0.4 * jnp.exp(-((places[:, None] - places) ** 2) / (2 * length**2)))
    schedule = code_jax.linear_schedule()
    return code_jax.Prior.from_function(_texture_eps, (values.clip(0), vectors, schedule), schedule, (side, side, 3))


def texture_samples(prior: code_jax.Prior, key: jax.Array, count: int) -> jax.Array:
    """Pictures [count, side, side, 3] of a texture."""
    values, vectors, _ = prior.params
    noise = jax.random.normal(key, (count, *prior.image_shape)) * jnp.sqrt(jnp.outer(values, values))[..., None]
    return _turned(noise, vectors.T)


def _texture_eps(params, x, t):
    """σ(C + σ²)⁻¹ z, in the covariance's eigenvectors."""
    values, vectors, schedule = params
    sigma = schedule.sigma(t)[:, None, None, None]
    variance = jnp.outer(values, values)[..., None] + sigma**2
    return sigma * _turned(_turned(x * jnp.sqrt(1 + sigma**2), vectors) / variance, vectors.T)


def _turned(images, vectors):
    return jnp.einsum("bijc,ik,jl->bklc", images, vectors, vectors)
