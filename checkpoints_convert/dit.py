"""DiT's checkpoints: ``DiT-XL-2-256x256.pt``, by our names, whose shapes tell all but the heads; and diffusers' layout.

Where diffusers embeds timesteps at slightly other frequencies than the original, the original is followed: the weights are
converted from it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from checkpoints_convert.contents import Contents, Part
from code_jax.errors import UserError, brief

# Heads of the published widths and depths (Peebles & Xie 2023, table 1).
_HEADS = {(384, 12): 6, (768, 12): 12, (1024, 24): 16, (1152, 28): 16}
# Of diffusers' class: what the original has.
_ONLY: dict[str, tuple[Any, ...]] = {
    "activation_fn": ("gelu-approximate",),
    "attention_bias": (True,),
    "attention_type": ("default",),
    "caption_channels": (None,),
    "cross_attention_dim": (None,),
    "double_self_attention": (False,),
    "norm_elementwise_affine": (False,),
    "norm_type": ("ada_norm_zero",),
    "num_vector_embeds": (None,),
    "only_cross_attention": (False,),
    "use_linear_projection": (False,),
}
_READ = (
    "num_attention_heads", "sample_size", "patch_size", "in_channels", "num_layers", "num_embeds_ada_norm", "attention_head_dim",
)  # fmt: skip
_BLOCK = re.compile(r"transformer_blocks\.(\d+)\.(.+)")
_QKV = re.compile(r"attn1\.(to_q|to_k|to_v)\.(weight|bias)")
_EMBEDDINGS = {
    f"norm1.emb.timestep_embedder.linear_{i}.{leaf}": f"t_embedder.mlp.{2 * i - 2}.{leaf}"
    for i in (1, 2)
    for leaf in ("weight", "bias")
} | {"norm1.emb.class_embedder.embedding_table.weight": "y_embedder.embedding_table.weight"}
_INNER = {"norm1.linear": "adaLN_modulation.1", "attn1.to_out.0": "attn.proj", "ff.net.0.proj": "mlp.fc1", "ff.net.2": "mlp.fc2"}
_OUTER = {
    "pos_embed.proj": "x_embedder.proj", "proj_out_1": "final_layer.adaLN_modulation.1", "proj_out_2": "final_layer.linear",
}  # fmt: skip


def is_dit(state: Mapping[str, np.ndarray]) -> bool:
    """Whether a state dict is one of DiT."""
    return "x_embedder.proj.weight" in state and "y_embedder.embedding_table.weight" in state


def convert_dit(state: Mapping[str, np.ndarray], num_heads: int | None = None, codec: Part | None = None) -> Contents:
    """What a DiT state dict holds, without its learned variance; ``num_heads`` is wanted for a width and a depth not published.

    Raises:
        UserError: names what is missing or does not fit.
    """
    config = _infer_config(state, num_heads)
    scheduler = {"_class_name": "DDPMScheduler", "beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}
    return Contents(config, scheduler | {"num_train_timesteps": 1000}, lambda: mean_alone(state, config), codec)


def is_diffusers_dit(config: Mapping[str, Any]) -> bool:
    """Whether a diffusers ``config.json`` is of DiT."""
    kinds = ("DiTTransformer2DModel", "Transformer2DModel")
    return config.get("_class_name") in kinds and config.get("norm_type", "ada_norm_zero") == "ada_norm_zero"


def dit_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """`DiT`'s arguments, of a diffusers ``config.json``; the output has no learned variance.

    Raises:
        UserError: names an option that has a value this network does not answer to, or is missing.
    """
    for name, values in _ONLY.items():
        if name in config and config[name] not in values:
            raise UserError(f"{name} {brief(config[name])} is not supported in a DiT (only {values[0]!r} is)")
    missing = [name for name in _READ if not isinstance(config.get(name), int)]
    if missing:
        raise UserError(f"{', '.join(missing)} missing from the network's config, or no whole number")
    heads, size, patch, channels, layers, classes = (config[name] for name in _READ[:6])
    return {
        "_class_name": "DiT",
        "input_size": size,
        "patch_size": patch,
        "in_channels": channels,
        "hidden_size": heads * config["attention_head_dim"],
        "depth": layers,
        "num_heads": heads,
        "num_classes": classes,
        "learn_sigma": False,
    }


def dit_state(state: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """`DiT`'s state dict, of diffusers'; names that are not known stay, to be reported.

    Each block there has a copy of the embeddings: they must be the same.
    """
    renamed: dict[str, np.ndarray] = {}
    for name, tensor in state.items():
        match = _BLOCK.fullmatch(name)
        inner = match[2] if match else name
        if match and inner.startswith("norm1.emb."):
            first = state.get(f"transformer_blocks.0.{inner}")
            if first is None or not np.array_equal(first, tensor):
                raise UserError(f"{name} is another embedding than the first block's, which is not supported in a DiT")
            renamed[_EMBEDDINGS.get(inner, name)] = tensor
        elif match and (rows := _QKV.fullmatch(inner)):
            parts = [state.get(f"transformer_blocks.{match[1]}.attn1.{part}.{rows[2]}") for part in ("to_q", "to_k", "to_v")]
            if any(part is None or part.shape != tensor.shape for part in parts):
                raise UserError(f"the attention of transformer_blocks.{match[1]} has no rows q, k and v of one shape")
            renamed[f"blocks.{match[1]}.attn.qkv.{rows[2]}"] = np.concatenate([part for part in parts if part is not None])
        else:
            path, _, leaf = inner.rpartition(".")
            known = _INNER.get(path) if match else _OUTER.get(path)
            place = f"blocks.{match[1]}.{known}" if match else known
            renamed[f"{place}.{leaf}" if known else name] = tensor
    side = config["input_size"] // config["patch_size"]
    renamed.pop("pos_embed.pos_embed", None)  # the same, in older files
    renamed["pos_embed"] = places(config["hidden_size"], side)[None]
    return mean_alone(renamed, config)


def places(width: int, side: int) -> np.ndarray:
    """Sines and cosines of the places of side×side tokens, [side², width]: half of their column, half of their row."""
    rates = 10_000.0 ** -(np.arange(width // 4) / (width / 4))
    row, column = (axis.ravel()[:, None] * rates for axis in np.indices((side, side)))
    parts = [wave(angles) for angles in (column, row) for wave in (np.sin, np.cos)]
    return np.concatenate(parts, axis=1).astype(np.float32)


def mean_alone(state: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> dict[str, np.ndarray]:
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
