"""How much results of one input differ among themselves."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Float

from code_jax.errors import UserError
from code_jax.metrics.pixelwise import l2
from code_jax.shapes import AnyArray, Images, PerImage


def diversity(
    samples: Float[AnyArray, "samples batch height width channels"], distance: Callable[[Images, Images], PerImage] = l2
) -> PerImage:
    """Mean distance between samples of the same input: 2/(K(K − 1)) Σ_{j<k} d(x_j, x_k) over the pairs of K samples.

    Small where the input leaves the prior little choice. Of `edit` at several keys it is the variety that SDEdit (Meng et al.
    2022, section 4) and CODE trade against the fidelity to their guidance, which is ``psnr(samples[k], inputs)``.

    Args:
        samples: floating [K, B, H, W, C] in [−1, 1]: K ≥ 2 samples of each of B inputs.
        distance: d(a, b) [B] of two batches [B, H, W, C]; `l2` by default, or ``functools.partial(lpips, network)``.

    Returns:
        float32 [B], in the distance's unit; 0 where all samples are equal.

    Raises:
        UserError: for another shape, or what the distance does not take.

    Example:
        >>> samples = jnp.stack([jnp.full((1, 8, 8, 3), value) for value in (-0.5, 0.0, 1.0)])
        >>> diversity(samples).tolist()  # (0.5 + 1 + 1.5)/3
        [1.0]
    """
    samples = jnp.asarray(samples)
    if samples.ndim != 5 or len(samples) < 2:
        raise UserError(f"samples have shape {samples.shape}; diversity takes [K, B, H, W, C] with at least two samples K")
    pairs = itertools.combinations(range(len(samples)), 2)
    return jnp.mean(jnp.stack([distance(samples[j], samples[k]) for j, k in pairs]), axis=0)
