"""Right and wrong: of a classifier's answers, and of the pixels that confidence-based clipping took for corrupted."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from code_jax.errors import UserError
from code_jax.metrics.images import check_pair
from code_jax.shapes import AnyArray, GivenImages, PerImage

Pixels = Bool[Array, "batch height width"]
GivenPixels = Bool[AnyArray, "batch height width"] | Bool[AnyArray, "batch height width channels"]


def accuracy(logits: Float[AnyArray, "batch classes"], labels: Integer[AnyArray, " batch"]) -> PerImage:
    """1 where the largest logit is that of the label, and 0 elsewhere; its mean is the accuracy.

    Args:
        logits: [B, K].
        labels: integers [B] in [0, K).

    Returns:
        float32 [B].

    Raises:
        UserError: for other shapes or dtypes.

    Example:
        >>> accuracy(jnp.array([[0.1, 0.9], [0.8, 0.2]]), jnp.array([1, 1])).tolist()
        [1.0, 0.0]
    """
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise UserError(f"logits {logits.shape} and labels {labels.dtype} {labels.shape} do not fit: [B, K] and integers [B]")
    return (jnp.argmax(logits, axis=1) == labels).astype(jnp.float32)


def corrupted_pixels(clean: GivenImages, corrupted: GivenImages, tolerance: float = 1.5 / 127.5) -> Pixels:
    """Where any channel differs by more than `tolerance`: the truth for masks, lines and impulse noise.

    Args:
        clean, corrupted: floating [B, H, W, C] in [−1, 1].
        tolerance: the default, one and a half 8-bit levels, lets rounding pass.

    Returns:
        bool [B, H, W].

    Raises:
        UserError: for another dtype, shape or range.

    Example:
        >>> clean = jnp.zeros((1, 1, 2, 3))
        >>> corrupted_pixels(clean, clean.at[0, 0, 1, 2].set(1.0)).tolist()
        [[[False, True]]]
    """
    clean, corrupted = check_pair(clean, corrupted)
    return jnp.any(jnp.abs(clean - corrupted) > tolerance, axis=-1)


def precision_recall(found: GivenPixels, truth: GivenPixels) -> tuple[PerImage, PerImage]:
    """Precision |found ∧ truth|/|found| and recall |found ∧ truth|/|truth| of each image's pixels.

    Args:
        found, truth: bool [B, H, W], or [B, H, W, C] of which any channel counts; the pixels that were clipped, say, and
            `corrupted_pixels`.

    Returns:
        float32 [B] each; NaN where nothing was found, or there was nothing to find.

    Raises:
        UserError: for another dtype or shape.

    Example:
        >>> found, truth = jnp.array([[[True, True]]]), jnp.array([[[True, False]]])
        >>> [value.tolist() for value in precision_recall(found, truth)]
        [[0.5], [1.0]]
    """
    found, truth = _pixels(found), _pixels(truth)
    if found.shape != truth.shape:
        raise UserError(f"masks of shapes {found.shape} and {truth.shape} cannot be compared; give two of one shape")
    return _precision_recall(found, truth)


def _pixels(mask: GivenPixels) -> Pixels:
    mask = jnp.asarray(mask)
    if mask.dtype != bool or mask.ndim not in (3, 4):
        raise UserError(f"a mask is {mask.dtype} of shape {mask.shape}; give booleans [B, H, W] or [B, H, W, C]")
    return jnp.any(mask, axis=-1) if mask.ndim == 4 else mask


@jax.jit
def _precision_recall(found: Pixels, truth: Pixels) -> tuple[PerImage, PerImage]:
    hits, claims, cases = (jnp.sum(mask, axis=(1, 2)) for mask in (found & truth, found, truth))
    return hits / claims, hits / cases
