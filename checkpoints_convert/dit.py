"""DiT's checkpoints (``DiT-XL-2-256x256.pt``): a state dict by our names, whose shapes tell all but the heads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from checkpoints_convert.contents import Contents
from code_jax.errors import UserError

# Heads of the published widths and depths (Peebles & Xie 2023, table 1).
_HEADS = {(384, 12): 6, (768, 12): 12, (1024, 24): 16, (1152, 28): 16}


def is_dit(state: Mapping[str, np.ndarray]) -> bool:
    """Whether a state dict is one of DiT."""
    return "x_embedder.proj.weight" in state and "y_embedder.embedding_table.weight" in state


def convert_dit(state: Mapping[str, np.ndarray], num_heads: int | None = None) -> Contents:
    """What a DiT state dict holds, without its learned variance; ``num_heads`` is wanted for a width and a depth not published.

    Raises:
        UserError: names what is missing or does not fit.
    """
    config = _infer_config(state, num_heads)
    scheduler = {"_class_name": "DDPMScheduler", "beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}
    return Contents(config, scheduler | {"num_train_timesteps": 1000}, lambda: _mean_alone(state, config))


def _mean_alone(state: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The state dict without the last layer's rows of the learned variance, which lie behind ε in every pixel of a token."""
    mean, pixels = dict(state), config["patch_size"] ** 2
    for name in ("final_layer.linear.weight", "final_layer.linear.bias"):
        if name in mean and mean[name].ndim and len(mean[name]) == 2 * pixels * config["in_channels"]:
            rows = mean[name].reshape(pixels, -1, *mean[name].shape[1:])[:, : config["in_channels"]]
            mean[name] = rows.reshape(-1, *mean[name].shape[1:])
    return mean


def _infer_config(state: Mapping[str, np.ndarray], num_heads: int | None) -> dict[str, Any]:
    tokens, patches = _get(state, "pos_embed", 3), _get(state, "x_embedder.proj.weight", 4)
    width, channels, patch = patches.shape[:3]
    depth = 0
    while f"blocks.{depth}.attn.qkv.weight" in state:
        depth += 1
    heads = num_heads or _HEADS.get((width, depth))
    if heads is None:
        raise UserError(f"the heads of a DiT of {width} channels and {depth} blocks are not known: state num_heads")
    side = math.isqrt(tokens.shape[1])
    outputs = _get(state, "final_layer.linear.weight", 2).shape[0] // patch**2
    if side**2 != tokens.shape[1] or outputs not in (channels, 2 * channels):
        raise UserError(
            f"{tokens.shape[1]} tokens are no square, or {outputs} outputs are neither {channels} channels nor twice as many"
        )
    return {
        "_class_name": "DiT",
        "input_size": side * patch,
        "patch_size": patch,
        "in_channels": channels,
        "hidden_size": width,
        "depth": depth,
        "num_heads": heads,
        "mlp_ratio": _get(state, "blocks.0.mlp.fc1.weight", 2).shape[0] / width,
        "num_classes": _get(state, "y_embedder.embedding_table.weight", 2).shape[0] - 1,
        "learn_sigma": False,
    }


def _get(state: Mapping[str, np.ndarray], name: str, ndim: int) -> np.ndarray:
    tensor = state.get(name)
    if tensor is None or tensor.ndim != ndim or not tensor.size:
        raise UserError(f"{name} is {'missing' if tensor is None else f'of shape {list(tensor.shape)}'}")
    return tensor
