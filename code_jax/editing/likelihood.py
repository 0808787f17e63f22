"""The likelihood of images under a prior, by the change of variables along the probability-flow ODE.

An image is taken to live at the prior's first level: z = x_0 + σ_0 n, with noise added once. Along dz/dσ = ε(z, σ) the density
follows d log p/dσ = −div ε (Chen et al. 2018, theorem 1; Song et al. 2021, equation 39), so that up to the last level σ_L

    log p(z) = log N(z_L; 0, (1 + σ_L²) I) + ∫ div ε dσ.

The reference is the latent's Gaussian, x_L = z_L/√(1 + σ_L²) ~ N(0, I). div ε = E[vᵀ(∂ε/∂z)v] for signs v (Hutchinson 1990), by
forward differentiation beside the evaluation itself; every step has probes of its own, whose errors do not add up.

In bits: an 8-bit value is 127.5(x + 1), of density p/127.5, so that a dimension has −log₂ p/D + log₂ 127.5 bits (6.99 more). σ_0
is 127.5σ_0 levels, 1.3 where σ_0 is 0.01, and wider than what quantization leaves open (1 level, of standard deviation 0.29).
So these are bits of the noisy image, and no match for published bits per dimension, where noise fills one level. Over the noise
their mean is at least its entropy, log₂(127.5σ_0√(2πe)), whatever the image and the prior: what is above that floor is what the
prior does not foresee of an image known to within σ_0.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from code_jax.devices.flags import own_flags
from code_jax.devices.one_by_one import apart
from code_jax.diffusion.denoiser import Condition, Denoiser
from code_jax.diffusion.levels import noise_levels
from code_jax.diffusion.solvers import Field, find_solver
from code_jax.documents import is_whole
from code_jax.editing.conditions import check_condition
from code_jax.editing.images import check_images
from code_jax.editing.keys import image_keys
from code_jax.editing.options import OPTIONS
from code_jax.editing.settings import Number
from code_jax.errors import UserError, brief
from code_jax.shapes import GivenImages, Images, KeyPerImage, Keys, PerImage, Scalar

Probes = Float[Array, "probes batch height width channels"]
_MOST_PROBES, _MOST_EXACT = 1000, 1024  # probes, and dimensions of an image whose trace is taken exactly


class Likelihood(NamedTuple):
    """What `log_likelihood` gives.

    Attributes:
        log_density: log p of the images with their noise, in nats, for values in [−1, 1]. [B].
        bits: −log₂ p per dimension for values in [0, 255]; less is likelier. [B].
        standard_error: of `bits`, over the probes; 0 of an exact trace. [B].
        floor: the least mean of `bits` over noise of σ_0 that any image has under any prior. [].
    """

    log_density: PerImage
    bits: PerImage
    standard_error: PerImage
    floor: Scalar


@own_flags()
def log_likelihood(
    key: Keys, prior: Denoiser, images: GivenImages, condition: Condition = None, *, num_steps: int = 30,
    solver: str = "tsit5", grid: str = "geometric", probes: int | None = 2, input_noise: Number = 1.0,
) -> Likelihood:  # fmt: skip
    """The density that a prior gives to images with noise of its first level σ_0, in nats and in bits per dimension.

    The probability-flow ODE carries an image, and the integral of div ε beside it, from σ_0 to the last level, where the latent
    has a Gaussian's density (Song et al. 2021, appendix D.2). See `code_jax.editing.likelihood` for the formula and the units.
    Likelier is not better: images without detail are likelier than photographs, however they lost it.

    Args:
        key: a typed PRNG key, [B] or [], as of `code_jax.edit`. The same key gives two versions of an image the same noise.
        prior: whose density.
        images: [B, H, W, C] floating, in [−1, 1].
        condition: of a conditional prior: a pytree with one entry an image, [B, ...].
        num_steps: solver steps.
        solver: as of `code_jax.encode`; one of second order needs some hundreds of steps.
        grid: as of `code_jax.encode`.
        probes: signs v that div ε is estimated with, 2 to 1000; each costs about an evaluation. None takes the exact trace, of
            images of at most 1024 dimensions.
        input_noise: in units of σ_0; 0 asks for the density at the images themselves.

    Returns:
        A `Likelihood`, [B].

    Raises:
        UserError: names a setting out of its range, or images that do not fit the prior.

    Example:
        >>> import code_jax, jax, jax.numpy as jnp
        >>> unit_gaussian = lambda params, z, sigma: z * (sigma / (1 + sigma**2))[:, None, None, None]
        >>> prior = code_jax.Prior.from_denoiser(unit_gaussian, (), (8, 8, 3), (0.01, 80.0))
        >>> found = code_jax.log_likelihood(jax.random.key(0), prior, jnp.zeros((1, 8, 8, 3)), input_noise=0.0)
        >>> round(float(found.bits[0]), 3), round(math.log2(127.5 * math.sqrt(2 * math.pi)), 3)  # of N(0, 1) at 0
        (8.32, 8.32)
    """
    for name, value in {"num_steps": num_steps, "solver": solver, "grid": grid, "input_noise": input_noise}.items():
        if not isinstance(value, jax.core.Tracer):
            OPTIONS[name].check(value)
    if prior.codec is not None:
        raise UserError("a latent prior has a density of latents, which is none of pictures; give a prior of pixels")
    images, size = check_images(prior, images), math.prod(prior.image_shape)
    condition = check_condition(prior, condition, len(images))
    if probes is None and size > _MOST_EXACT:
        raise UserError(f"images have {size} dimensions; the exact trace is of at most {_MOST_EXACT}: give probes")
    if probes is not None and not is_whole(probes, 2, _MOST_PROBES):
        raise UserError(f"probes is {brief(probes)}; it must be a whole number from 2 to {_MOST_PROBES}, or None")
    keys, prior = image_keys(key, images), apart(prior, images)
    return _log_likelihood(keys, prior, images, condition, input_noise, num_steps, solver, grid, probes)


@functools.partial(jax.jit, static_argnames=("num_steps", "solver", "grid", "probes"))
def _log_likelihood(
    keys: KeyPerImage, denoiser: Denoiser, images: Images, condition: Condition, input_noise: Number,
    num_steps: int, solver: str, grid: str, probes: int | None,
) -> Likelihood:  # fmt: skip
    shape, dtype, size = images.shape[1:], images.dtype, math.prod(images.shape[1:])
    low, high = denoiser.sigma_range
    levels, scheme = noise_levels(denoiser, low, high, num_steps, grid).astype(dtype), find_solver(solver)

    def drawn(number: Any, draw: Any) -> jax.Array:
        return jax.vmap(lambda key: draw(jax.random.fold_in(key, number)), out_axes=-4)(keys)

    def vectors(step: Any) -> Probes:
        """v of a step, [P, B, H, W, C]; for the exact trace the axes, as long as signs are."""
        if probes is None:
            axes = math.sqrt(size) * jnp.eye(size, dtype=dtype).reshape(size, 1, *shape)
            return jnp.broadcast_to(axes, (size, *images.shape))
        return drawn(step + 1, lambda key: jax.random.rademacher(key, (probes, *shape), dtype))

    def field_with(vectors: Probes) -> Field:
        """ε, and div ε/D by each v, as the solvers take them: one array [B, D + P, 1, 1]."""

        def field(state: jax.Array, sigma: jax.Array) -> jax.Array:
            z = state[:, :size].reshape(images.shape)

            def along(vector: Images) -> tuple[Images, PerImage]:
                eps, slope = jax.jvp(lambda z: denoiser.eps_at(z, sigma, condition), (z,), (vector,))
                return eps, jnp.mean(vector * slope, axis=(1, 2, 3))

            eps, divergence = jax.vmap(along, out_axes=(0, 1))(vectors)  # ε is the same for all v, and evaluated once
            return jnp.concatenate([eps[0].reshape(len(z), -1), divergence], axis=1)[..., None, None]

        return field

    def step(carry: Any, k: jax.Array) -> tuple[Any, None]:
        return scheme.step(field_with(vectors(k)), levels[k], levels[k + 1], *carry), None

    z = images + input_noise * levels[0] * drawn(0, lambda key: jax.random.normal(key, shape, dtype))
    state = jnp.pad(z.reshape(len(z), size), ((0, 0), (0, size if probes is None else probes)))[..., None, None]
    memory = scheme.init(state)
    if scheme.reversible:
        memory = scheme.settle(memory, state, field_with(vectors(num_steps))(state, levels[0]))
    (state, _), _ = jax.lax.scan(step, (state, memory), jnp.arange(num_steps))

    variance = 1 + levels[-1] ** 2
    latent = jnp.mean(state[:, :size, 0, 0] ** 2, axis=1) / variance
    gained = state[:, size:, 0, 0]
    mean = jnp.mean(gained, axis=1) - (jnp.log(2 * jnp.pi * variance) + latent) / 2  # log p/D
    error = jnp.zeros_like(mean) if probes is None else jnp.std(gained, axis=1, ddof=1) / math.sqrt(probes)
    levels_of_unit = jnp.mean(jnp.log2(127.5 / jnp.asarray(denoiser.data_range, dtype)))
    entropy = jnp.log2(levels[0] * math.sqrt(2 * math.pi * math.e))
    return Likelihood(size * mean, levels_of_unit - mean / math.log(2), error / math.log(2), levels_of_unit + entropy)
