"""Dynamic thresholding: a denoiser whose x̂_0 stays within the range of images (Saharia et al. 2022, section 2.3)."""

from __future__ import annotations

import flax.struct
import jax
import jax.numpy as jnp

from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.schedule import NoiseSchedule

_BISECTIONS = 22  # halve [1, s_max] down to float32's resolution


class DynamicThreshold(flax.struct.PyTreeNode):
    """A denoiser that answers with the ε of the thresholded x̂_0.

    x̂_0 = (x − √(1 − ᾱ) ε)/√ᾱ; s = clip(quantile_p |x̂_0|, 1, s_max) per image; x̂_0 ← clip(x̂_0, −s, s)/s; ε follows.

    Attributes:
        denoiser: what is wrapped.
        quantile: p in (0, 1), [] or [B].
        s_max: the largest s, ≥ 1. [] or [B].

    Example:
        >>> import code_jax
        >>> schedule = code_jax.linear_schedule()
        >>> prior = code_jax.Prior.from_function(lambda params, x, t: 0 * x, (), schedule, (2, 2, 1))  # x̂_0 is x_t/√ᾱ_t
        >>> x, t = jnp.full((1, 2, 2, 1), 2.0), jnp.zeros(1)
        >>> eps = DynamicThreshold(prior, 0.98, 1.3).eps(x, t)
        >>> x0 = (x - schedule.variance(0.0) ** 0.5 * eps) / schedule.alpha_bar(0.0) ** 0.5
        >>> round(float(x0[0, 0, 0, 0]), 3)
        1.0
    """

    denoiser: Denoiser
    quantile: jax.typing.ArrayLike = 0.98
    s_max: jax.typing.ArrayLike = 1.3

    @property
    def schedule(self) -> NoiseSchedule:
        """The wrapped denoiser's schedule."""
        return self.denoiser.schedule

    def eps(self, x: jax.Array, t: jax.Array) -> jax.Array:
        """ε [B, H, W, C] at x_t and t [B]."""
        sigma = self.schedule.sigma(t)[:, None, None, None]
        z = x * jnp.sqrt(1 + sigma**2)
        x0 = z - sigma * self.denoiser.eps(x, t)
        s = clipped_quantile(jnp.abs(x0), self.quantile, self.s_max)
        return (z - jnp.clip(x0, -s, s) / s) / sigma


def clipped_quantile(values: jax.Array, quantile: jax.typing.ArrayLike, s_max: jax.typing.ArrayLike) -> jax.Array:
    """clip(quantile(values), 1, s_max) over all but the first axis, [B, 1, 1, 1], by bisection instead of a sort.

    quantile, s_max: [] or [B].
    The quantile is the smallest s with at least p of the values ≤ s; clipping leaves only [1, s_max] to search.
    """
    axes = tuple(range(1, values.ndim))
    low = jnp.ones((values.shape[0],) + (1,) * len(axes), values.dtype)
    quantile, s_max = (jnp.asarray(number, values.dtype).reshape(-1, *(1,) * len(axes)) for number in (quantile, s_max))

    def halve(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = (low + high) / 2
        enough = jnp.mean(values <= middle, axes, keepdims=True, dtype=values.dtype) >= quantile
        return jnp.where(enough, low, middle), jnp.where(enough, middle, high)

    within = jnp.mean(values <= 1, axes, keepdims=True, dtype=values.dtype) >= quantile
    _, high = jax.lax.fori_loop(0, _BISECTIONS, halve, (low, low * s_max))
    return jnp.where(within, low, high)
