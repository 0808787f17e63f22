"""Memory of a compiled edit, by the compiler's own account."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from code_jax.editing.config import EditConfig, canonical
from code_jax.editing.edit import advance, begin, image_keys, per_image
from code_jax.priors.prior import Prior


def working_memory(prior: Prior, config: EditConfig, batch: int) -> float:
    """Bytes an image that an edit of so many images needs at most, beside the weights; compiles the edit."""
    images = jnp.zeros((batch, *prior.image_shape))
    keys, numbers = image_keys(jax.random.key(0), images), per_image(canonical(config), batch)
    travel = jax.eval_shape(begin, keys, prior, images, numbers)
    state = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(travel))
    analysis: Any = advance.lower(keys, prior, travel, numbers, jnp.int32(0), jnp.int32(1)).compile().memory_analysis()
    return (analysis.temp_size_in_bytes + state) / batch
