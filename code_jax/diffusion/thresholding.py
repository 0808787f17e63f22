"""Dynamic thresholding: a denoiser whose x̂_0 stays within the range of images (Saharia et al. 2022, section 2.3)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from code_jax.diffusion.denoiser import Condition, Denoiser, Wrapper
from code_jax.diffusion.tiling import Tiled, inside
from code_jax.errors import UserError
from code_jax.shapes import Images, Level, Numbers

_BISECTIONS = 22  # halve [1, s_max] down to float32's resolution


class DynamicThreshold(Wrapper):
    """A denoiser that answers with the ε of the thresholded x̂_0.

    x̂_0 = z − σε, in units of the data's range; s = clip(quantile_p |x̂_0|, 1, s_max) per image; x̂_0 ← clip(x̂_0, −s, s)/s.

    Attributes:
        denoiser: what is wrapped.
        quantile: p in (0, 1), [] or [B].
        s_max: the largest s, ≥ 1. [] or [B].

    Example:
        >>> import code_jax
        >>> prior = code_jax.Prior.from_denoiser(lambda params, z, sigma: 0 * z, (), (2, 2, 1), (0.01, 80.0))  # x̂_0 is z
        >>> z, sigma = jnp.full((1, 2, 2, 1), 2.0), jnp.float32(0.5)
        >>> x0 = z - sigma * DynamicThreshold(prior, 0.98, 1.3).eps_at(z, sigma)
        >>> round(float(x0[0, 0, 0, 0]), 3)
        1.0
    """

    quantile: Numbers = 0.98
    s_max: Numbers = 1.3

    def level(self, values: Images) -> Float[Array, "batch 1 1 1"]:
        """s [B, 1, 1, 1] of |x̂_0| [B, H, W, C]."""
        return clipped_quantile(values, self.quantile, self.s_max)

    def eps_at(self, z: Images, sigma: Level, condition: Condition = None) -> Images:
        """ε [B, H, W, C] at z and σ, [] or [B, 1, 1, 1]."""
        scale = jnp.asarray(self.data_range, z.dtype)
        x0 = (z - sigma * self.denoiser.eps_at(z, sigma, condition)) / scale
        s = self.level(jnp.abs(x0))
        return (z - scale * jnp.clip(x0, -s, s) / s) / sigma


def thresholded(denoiser: Denoiser, threshold: tuple[Any, Any] | None) -> Denoiser:
    """The denoiser in a `DynamicThreshold` of (quantile, s_max), `inside` tiles; as it is where there is none.

    Raises:
        UserError: for latents whose range is not known.
    """
    if threshold is None:
        return denoiser
    if not np.all(np.isfinite(denoiser.data_range)):
        raise UserError(
            "dynamic thresholding needs the range of the prior's latents, which is not measured: "
            "code-jax convert PRIOR FOLDER --measure PICTURES makes a prior that has it"
        )
    return inside(denoiser, DynamicThreshold, *threshold)


def unthresholded(denoiser: Denoiser) -> Denoiser:
    """What `thresholded` wrapped."""
    if isinstance(denoiser, Tiled):
        return denoiser.replace(denoiser=denoiser.denoiser.denoiser)
    return denoiser.denoiser  # type: ignore[attr-defined]


def clipped_quantile(values: Images, quantile: Numbers, s_max: Numbers) -> Float[Array, "batch 1 1 1"]:
    """clip(quantile(values), 1, s_max) over all but the first axis, [B, 1, 1, 1], by bisection instead of a sort.

    quantile, s_max: [] or [B].
    The quantile is the smallest s with at least p of the values ≤ s; clipping leaves only [1, s_max] to search.
    """
    axes = tuple(range(1, values.ndim))
    low = jnp.ones((values.shape[0],) + (1,) * len(axes), values.dtype)
    quantile, s_max = (jnp.asarray(number, values.dtype).reshape(-1, *(1,) * len(axes)) for number in (quantile, s_max))

    def halve(_: jax.Array, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = (low + high) / 2
        enough = jnp.mean(values <= middle, axes, keepdims=True, dtype=values.dtype) >= quantile
        return jnp.where(enough, low, middle), jnp.where(enough, middle, high)

    within = jnp.mean(values <= 1, axes, keepdims=True, dtype=values.dtype) >= quantile
    _, high = jax.lax.fori_loop(0, _BISECTIONS, halve, (low, low * s_max))
    return jnp.where(within, low, high)
