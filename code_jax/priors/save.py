"""`save_prior`: a prior as a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from code_jax.errors import UserError
from code_jax.priors.prior import Prior

DTYPES = ("float32", "float16")


def save_prior(prior: Prior, folder: str | Path, *, dtype: str = "float32") -> None:
    """Writes a prior for `load_prior`, and for diffusers' ``DDPMPipeline.from_pretrained``: JSON and safetensors.

    Args:
        prior: a prior with a network, such as one fine-tuned in Python.
        folder: made if there is none; it must not hold a prior yet.
        dtype: of the weights as they are stored, "float32" or "float16".

    Raises:
        UserError: for a function of one's own (`Prior.from_function`) or a wrapped prior, a folder in use, another dtype, or
            weights beyond its range.
        OSError: if it cannot be written.

    Example:
        >>> import tempfile
        >>> import code_jax
        >>> folder = tempfile.mkdtemp()
        >>> code_jax.save_prior(code_jax.load_prior("eurosat-64"), folder, dtype="float16")
        >>> code_jax.load_prior(folder).image_shape
        (64, 64, 3)
    """
    from checkpoints_convert.diffusers import write_diffusers

    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r} is unknown; choose from {', '.join(DTYPES)}")
    write_diffusers(prior, folder, np.dtype(dtype))
