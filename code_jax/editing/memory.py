"""Memory of a compiled edit, by the compiler's own account."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from code_jax.devices.one_by_one import apart
from code_jax.diffusion.denoiser import Denoiser
from code_jax.editing.edit import advance, begin, per_image
from code_jax.editing.keys import image_keys
from code_jax.editing.result import ended
from code_jax.editing.settings import Settings


def memory_analysis(denoiser: Denoiser, settings: Settings, batch: int) -> tuple[Any, int]:
    """The compiler's account of the program that an edit of so many images runs, and the bytes of its state; compiles it.

    Of a latent prior's three programs (encode, edit, decode) it is that of the largest.
    """
    images = jnp.zeros((batch, *denoiser.image_shape))
    keys, numbers, denoiser = image_keys(jax.random.key(0), images), per_image(settings, denoiser, batch), apart(denoiser, images)
    labels = jnp.zeros(batch, jnp.int32) if denoiser.classes else None
    state = jax.eval_shape(begin, keys, denoiser, images, numbers)
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    programs = [advance.lower(keys, denoiser, state, numbers, None, jnp.int32(0), jnp.int32(1), labels)]
    if denoiser.codec is not None:
        programs += [begin.lower(keys, denoiser, images, numbers), ended.lower(state, denoiser, None, denoiser.data_range)]
    accounts: list[Any] = [program.compile().memory_analysis() for program in programs]
    return max(accounts, key=lambda account: account.temp_size_in_bytes), size


def working_memory(denoiser: Denoiser, settings: Settings, batch: int) -> float:
    """Bytes an image that an edit of so many images needs at most, beside the weights; compiles the edit."""
    analysis, state = memory_analysis(denoiser, settings, batch)
    return float((analysis.temp_size_in_bytes + state) / batch)


def program_memory(denoiser: Denoiser, settings: Settings, batch: int) -> int:
    """Bytes that the compiled edit takes on a device at its peak: arguments, results and temporaries."""
    sizes, _ = memory_analysis(denoiser, settings, batch)
    total = sizes.argument_size_in_bytes + sizes.output_size_in_bytes + sizes.temp_size_in_bytes - sizes.alias_size_in_bytes
    return int(total)
