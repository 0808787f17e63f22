"""What makes a prior the one it is, as one hash: for manifests, which must tell one prior from another."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import jax
import numpy as np

from code_jax.models.config import NOT_OF_DIFFUSERS
from code_jax.models.networks import config_of
from code_jax.models.unet import UNet2DModel
from code_jax.priors.autoencoding import Autoencoding
from code_jax.priors.prior import NetworkOutput, Prior


def prior_hash(prior: Prior) -> str:
    """SHA-256 (64 hexadecimal digits) over a prior's weights, schedule and config.

    Every weight counts with its path, dtype, shape and bits. The precision that the network is computed in does not, and a
    prior hashes the same wherever it was loaded from. Of a prior of one's own the function counts by its name alone.

    Args:
        prior: a `Prior`.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> import code_jax
        >>> prior = code_jax.load_prior("eurosat-64")
        >>> prior_hash(prior) == prior_hash(prior.with_precision("bfloat16"))
        True
    """
    config = {
        "function": _describe(prior.function),
        "image_shape": list(prior.image_shape),
        "scaling": [type(prior.scaling).__name__, prior.prediction_type, *_static(prior.scaling)],
        "data_range": prior.data_range,
    }
    if isinstance(prior.codec, Autoencoding):
        config["codec"] = config_of(prior.codec.network)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    add_leaves(digest, (prior.params, prior.scaling))
    if prior.codec is not None:
        add_leaves(digest, prior.codec)
    return digest.hexdigest()


def add_leaves(digest: hashlib._Hash, tree: Any) -> None:
    """Adds the path, dtype, shape and bits of every array of a pytree to a digest."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        values = np.ascontiguousarray(leaf)
        digest.update(f"\n{jax.tree_util.keystr(path)} {values.dtype} {values.shape}\n".encode())
        digest.update(values.reshape(-1).view(np.uint8).data)


def _static(scaling: Any) -> list[Any]:
    """What of a scaling is no number; the prediction type stands before it."""
    fields = dataclasses.fields(scaling)
    return [
        getattr(scaling, field.name)
        for field in fields
        if not field.metadata.get("pytree_node", True) and field.name != "prediction_type"
    ]


def _describe(function: Any) -> Any:
    if isinstance(function, NetworkOutput):
        config = dataclasses.asdict(function.network.config)
        if not isinstance(function.network, UNet2DModel):
            return {"kind": type(function.network).__name__} | config
        later = [name for name in (*NOT_OF_DIFFUSERS, "num_class_embeds") if config[name] is None]
        for name in later:  # options that came later: priors without them keep the hash they had
            del config[name]
        return config
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"
