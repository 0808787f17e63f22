"""How good a prior is at each noise level on pictures that it was not trained on."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from code_jax.editing.inversion import decode
from code_jax.pictures.arrays import picture_of, to_uint8
from code_jax.priors.prior import Prior

SIGMAS = (0.08, 0.21, 0.34, 0.72, 1.24, 3.4, 26.0)
_AT_ONCE = 50


def levels(prior: Prior) -> tuple[float, ...]:
    """Those of `SIGMAS` that a prior knows."""
    low, high = map(float, prior.sigma_range)
    return tuple(sigma for sigma in SIGMAS if low <= sigma <= high)


def losses_by_level(prior: Prior, pictures: np.ndarray, noise: np.ndarray | jax.Array) -> np.ndarray:
    """The squared error of v of each picture at each of a prior's `levels`, whatever the network itself predicts.

    v = √ᾱ ε − √(1 − ᾱ) x_0; at a given x_t its squared error is that of ε times 1 + σ², and that of x_0 times 1 + σ⁻².

    Args:
        prior: in any parameterization.
        pictures: uint8 [N, H, W, C].
        noise: n ~ N(0, I), float32 [N, H, W, C], the same at every level.

    Returns:
        float32 [N, levels].
    """
    parts = [_losses(prior, pictures[i : i + _AT_ONCE], noise[i : i + _AT_ONCE]) for i in range(0, len(pictures), _AT_ONCE)]
    return np.concatenate(parts)


def _losses(prior: Prior, pictures: np.ndarray, noise: np.ndarray | jax.Array) -> np.ndarray:
    x0 = jnp.asarray(pictures, jnp.float32) / 127.5 - 1
    return np.stack([_loss(prior, x0, jnp.asarray(noise), jnp.float32(sigma)) for sigma in levels(prior)], axis=1)


@jax.jit
def _loss(prior: Prior, x0: jax.Array, noise: jax.Array, sigma: jax.Array) -> jax.Array:
    error = prior.eps_at(x0 + sigma * noise, sigma) - noise
    return (1 + sigma**2) * jnp.mean(error**2, axis=(1, 2, 3))


class Validation:
    """Losses on held-out pictures at noise that stays, and a grid of samples from latents that stay."""

    def __init__(self, prior: Prior, pictures: np.ndarray, key: jax.Array) -> None:
        noise_key, latent_key = jax.random.split(key)
        self._prior, self._pictures = prior, pictures
        self._noise = np.asarray(jax.random.normal(noise_key, pictures.shape))
        self._latents = jax.random.normal(latent_key, (16, *prior.image_shape))

    def losses(self, params: Any) -> np.ndarray:
        """The mean loss at each level."""
        losses: np.ndarray = losses_by_level(self._prior.replace(params=params), self._pictures, self._noise).mean(0)
        return losses

    def samples(self, params: Any) -> Image.Image:
        """A grid of 4×4 samples, 25 DDIM steps from noise."""
        images = decode(self._prior.replace(params=params), self._latents, depth=1.0, solver="ddim", num_steps=25)
        grid = to_uint8(images).reshape(4, 4, *self._prior.image_shape)
        return picture_of(np.concatenate([np.concatenate(row, axis=1) for row in grid]))
