"""DDIM's mapping from noise to an image, of which a gradient can be taken: what is optimised through it keeps to likely images.

Its steps are explicit Euler's in σ (Song, Meng & Ermon 2021, equation 14) along few levels, the last of which is 0 (Chihaoui,
Lemkhenter & Favaro 2024, BIRD, take ten). Of a step only z is kept for the gradient; the network's activations are computed anew.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.levels import noise_levels
from code_jax.diffusion.solvers import Field
from code_jax.shapes import Images, Level, Scalar

Levels = Float[Array, "batch moves_and_1"]

# Forward passes that a gradient by z of a step of the mapping takes: the step, the step once more, and the way back, which by z
# alone costs what the step does. Of a step by itself it is one less. `tests/benchmarks/gradient_cost.py` measures both.
THROUGH, ONCE = 3, 2


def mapping_levels(denoiser: Denoiser, sigma: Scalar, num_steps: int, grid: str) -> Float[Array, " moves_and_1"]:
    """σ [num_steps + 1] from the noise's level down to σ_0 and then 0."""
    low = denoiser.sigma_range[0]
    levels = noise_levels(denoiser, sigma, low, num_steps - 1, grid) if num_steps > 1 else sigma[None]
    return jnp.append(levels, 0)


def mapped(field: Field, noise: Images, levels: Levels) -> Images:
    """The images [B, H, W, C] of noise in variance-preserving scale, about N(0, I); levels: [B, n + 1]."""

    @jax.checkpoint
    def step(z: Images, sigmas: tuple[Level, Level]) -> tuple[Images, None]:
        sigma, sigma_next = sigmas
        return z + (sigma_next - sigma) * field(z, sigma), None

    along = jnp.moveaxis(levels, -1, 0)[..., None, None, None].astype(noise.dtype)
    images, _ = jax.lax.scan(step, noise * jnp.sqrt(1 + along[0] ** 2), (along[:-1], along[1:]))
    return images
