"""`save_prior`: a prior as a folder."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from code_jax.errors import UserError
from code_jax.models.networks import Denoising, config_of
from code_jax.priors.autoencoding import Autoencoding
from code_jax.priors.prior import NetworkOutput, Prior
from code_jax.priors.scaling import write_scaling
from code_jax.priors.weights import to_state_dict

if TYPE_CHECKING:
    from checkpoints_convert.contents import Contents

DTYPES = ("float32", "float16")
FORMATS = ("diffusers", "orbax")
PATCHES = "_patches"  # of the network's config: a name that diffusers passes over


def save_prior(prior: Prior, folder: str | Path, *, dtype: str = "float32", format: str = "diffusers") -> None:
    """Writes a prior for `load_prior`, whole or not at all.

    Args:
        prior: a prior with a network, such as one fine-tuned in Python.
        folder: made if there is none; it must be empty.
        dtype: of the weights as they are stored, "float32" or "float16".
        format: "diffusers" (JSON and safetensors, which diffusers' ``DDPMPipeline.from_pretrained`` reads too) or "orbax" (a
            checkpoint with a hash, of every kind of network).

    Raises:
        UserError: for a function of one's own (`Prior.from_function`) or a wrapped prior, a folder in use, another dtype or
            format, or weights that are not finite or beyond the dtype's range.
        OSError: if it cannot be written.

    Example:
        >>> import tempfile
        >>> import code_jax
        >>> folder = tempfile.mkdtemp()
        >>> code_jax.save_prior(code_jax.load_prior("eurosat-64"), folder, dtype="float16")
        >>> code_jax.load_prior(folder).image_shape
        (64, 64, 3)
    """
    from checkpoints_convert.checkpoint import write_checkpoint
    from checkpoints_convert.diffusers import write_diffusers

    for name, value, known in (("dtype", dtype, DTYPES), ("format", format, FORMATS)):
        if value not in known:
            raise UserError(f"{name} {value!r} is unknown; choose from {', '.join(known)}")
    contents = to_contents(prior, dtype)
    with _new_folder(Path(folder)) as aside:
        (write_diffusers if format == "diffusers" else write_checkpoint)(contents, aside)


def to_contents(prior: Prior, dtype: str = "float32") -> Contents:
    """What a checkpoint of the prior holds.

    Raises:
        UserError: if the prior has no network, or its weights are not finite or beyond the dtype's range.
    """
    from checkpoints_convert.contents import Contents, Part

    network = network_of(prior)
    state = to_state_dict(prior.params, dtype)
    stated = {PATCHES: list(prior.patches)} if prior.patches else {}
    contents = Contents(config_of(network) | stated, write_scaling(prior.scaling), lambda: state)
    if prior.codec is None:
        return contents
    if not isinstance(prior.codec, Autoencoding):
        raise UserError("this prior's codec is one of its own, not an autoencoder of code_jax: it cannot be written")
    codec, measured = to_state_dict(prior.codec.params, dtype), np.broadcast_to(prior.data_range, prior.codec.latent_shape[-1:])
    part = Part(config_of(prior.codec.network), lambda: codec)
    return contents._replace(codec=part, data_range=tuple(measured.tolist()) if np.all(np.isfinite(measured)) else None)


def network_of(prior: Prior) -> Denoising:
    """The network of a prior; raises UserError for a function of one's own or a wrapped prior."""
    if not isinstance(prior, Prior) or not isinstance(prior.function, NetworkOutput):
        raise UserError("this prior is a function of its own, not a network of code_jax: it cannot be written as a checkpoint")
    return prior.function.network


def check_new(folder: Path) -> None:
    """Reads whether a prior may be written to a folder: nothing of anybody's is overwritten.

    Raises:
        UserError: if there is something already: another command's mark, or what another process is writing, as well.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise UserError(f"{folder} is a file, not a folder; choose another name")
    if folder.is_dir() and (there := sorted(path.name for path in folder.iterdir())):
        raise UserError(f"{folder} holds {there[0]!r} already; choose a new or an empty folder")


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Where to write what `folder` is to hold: inside it, and moved up at the end; after an error it is gone."""
    check_new(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        yield Path(aside)
        for path in sorted(Path(aside).iterdir()):  # what `load_prior` knows a format by (prior.json, unet) comes last
            path.rename(folder / path.name)
