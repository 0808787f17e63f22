"""What a checkpoint of any format holds, as plain data in diffusers' terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Part(NamedTuple):
    """A network beside the one that denoises: its config, which says its kind, and what gives its state dict."""

    config: Mapping[str, Any]
    state: Callable[[], dict[str, np.ndarray]]


class Contents(NamedTuple):
    """A network, its scheduler and its weights.

    Attributes:
        network: what a ``config.json`` says of it, by its kind's name (`code_jax.models.networks`).
        scheduler: what diffusers' ``scheduler_config.json`` says, or the wrapper of its training (`code_jax.priors.scaling`).
        state: gives the state dict: arrays by PyTorch's names, in its layout, of the dtypes they are stored in. Weights are
            large: it is called once the two configs are understood.
        codec: of a network of latents, its autoencoder.
        text_encoder: of a network that looks at a text, what makes the embedding of the empty prompt, which its state lacks.
        data_range: of each of the latents' channels, where it was measured.
    """

    network: Mapping[str, Any]
    scheduler: Mapping[str, Any]
    state: Callable[[], dict[str, np.ndarray]]
    codec: Part | None = None
    text_encoder: Part | None = None
    data_range: tuple[float, ...] | None = None
