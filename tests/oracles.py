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
