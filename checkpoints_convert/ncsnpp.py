"""diffusers' layout of NCSN++ (``google/ncsnpp-*``: a ``UNet2DModel`` of Skip blocks with Fourier features) as a `SongUNet`.

Where diffusers divides the channels of a norm into other groups than the original (its narrow levels), the original is followed:
the weights are converted from it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from checkpoints_convert.score_sde import joined_attention
from code_jax.documents import is_whole
from code_jax.errors import UserError, brief

_KINDS = {"SkipDownBlock2D": False, "AttnSkipDownBlock2D": True, "SkipUpBlock2D": False, "AttnSkipUpBlock2D": True}
_RESNET = {
    "norm1": "norm0", "conv1": "conv0", "time_emb_proj": "affine", "norm2": "norm1", "conv2": "conv1", "conv_shortcut": "skip",
}  # fmt: skip
_ATTENTION = re.compile(r"(.+\.)to_q\.(weight|bias)")
# Of a network of this kind: what `SongUNet` computes.
_ONLY: dict[str, tuple[Any, ...]] = {
    "act_fn": ("silu", "swish"),
    "add_attention": (True,),
    "attention_head_dim": (None,),
    "attn_norm_num_groups": (None,),
    "class_embed_type": (None,),
    "mid_block_type": ("UNetMidBlock2D",),
    "norm_eps": (1e-6,),
    "norm_num_groups": (None,),
    "num_class_embeds": (None,),
    "resnet_time_scale_shift": ("default",),
    "time_embedding_dim": (None,),
    "time_embedding_type": ("fourier",),
}
_WITHOUT_EFFECT = (
    "decay", "downsample_padding", "downsample_type", "dropout", "flip_sin_to_cos", "freq_shift", "num_train_timesteps",
    "upsample_type",
)  # fmt: skip
_READ = (
    "sample_size", "in_channels", "out_channels", "center_input_sample", "block_out_channels", "layers_per_block",
    "down_block_types", "up_block_types", "mid_block_scale_factor",
)  # fmt: skip


def is_ncsnpp(config: Mapping[str, Any]) -> bool:
    """Whether a diffusers ``config.json`` is of a network of this kind."""
    kinds = config.get("down_block_types")
    named = isinstance(kinds, (list, tuple)) and any(kind in kinds for kind in _KINDS)
    return named and config.get("_class_name") == "UNet2DModel"


def song_unet_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """`SongUNet`'s arguments, of a diffusers ``config.json``.

    Raises:
        UserError: names an option that is unknown, or that has a value this network does not answer to.
    """
    for name, value in config.items():
        if name in _ONLY and value not in _ONLY[name]:
            raise UserError(f"{name} {brief(value)} is not supported with Skip blocks (only {_ONLY[name][0]!r} is)")
        if name not in _ONLY and name not in _WITHOUT_EFFECT and name not in _READ and not name.startswith("_"):
            raise UserError(f"unknown option {brief(name)} = {brief(value)} of the network's config")
    missing = [name for name in _READ if name not in config and name != "center_input_sample"]
    missing += [
        name for name in ("time_embedding_type", "norm_eps", "norm_num_groups", "attention_head_dim") if name not in config
    ]
    if missing:
        raise UserError(f"{', '.join(missing)} missing from the network's config")
    scale, size = config["mid_block_scale_factor"], config["sample_size"]
    if not isinstance(scale, (int, float)) or not math.isclose(scale, math.sqrt(2), rel_tol=1e-6):
        raise UserError(f"mid_block_scale_factor {brief(scale)} is not supported with Skip blocks (only √2 is)")
    channels, down, up = (config[name] for name in ("block_out_channels", "down_block_types", "up_block_types"))
    if not all(isinstance(row, (list, tuple)) and 0 < len(row) <= 12 for row in (channels, down, up)):
        raise UserError("block_out_channels, down_block_types and up_block_types must be lists of 1 to 12 entries")
    if not len(channels) == len(down) == len(up) or not all(isinstance(kind, str) and kind in _KINDS for kind in [*down, *up]):
        raise UserError(f"blocks {brief([*down, *up])} are not all Skip blocks, one of each way a level")
    attends = [_KINDS[kind] for kind in down]
    if attends != [_KINDS[kind] for kind in reversed(up)]:
        raise UserError(
            "attention is at other levels on the way down than on the way up, which is not supported with Skip blocks"
        )
    whole = all(is_whole(number, 1) for number in [*channels, size])
    if not whole or any(number % channels[0] for number in channels):
        raise UserError(
            f"block_out_channels {brief(channels)} are no multiples of the first, or sample_size {brief(size)} is no number"
        )
    return {
        "_class_name": "SongUNet",
        "img_resolution": size,
        "in_channels": config["in_channels"],
        "out_channels": config["out_channels"],
        "model_channels": channels[0],
        "channel_mult": [number // channels[0] for number in channels],
        "channel_mult_noise": 2,
        "num_blocks": config["layers_per_block"],
        "attn_resolutions": [size >> level for level, attention in enumerate(attends) if attention],
        "dropout": config.get("dropout", 0.0),
        "embedding_type": "fourier",
        "encoder_type": "skip",
        "decoder_type": "skip",
        "resample_filter": [1, 3, 3, 1],
        "center_input": config.get("center_input_sample", False),
    }


def song_unet_state(state: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """`SongUNet`'s state dict, of diffusers' (whose attention layers have today's names); unknown names stay, to be reported."""
    state = {name: tensor for name, tensor in state.items() if name != "time_proj.W"}  # the frequencies once more, in older files
    prefixes = _prefixes(config)
    renamed: dict[str, np.ndarray] = {}
    for name, tensor in state.items():
        if match := _ATTENTION.fullmatch(name):
            rows = [state.get(f"{match[1]}{part}.{match[2]}") for part in ("to_q", "to_k", "to_v")]
            place = prefixes.get(match[1][:-1])
            if place and all(row is not None and row.shape == tensor.shape for row in rows):
                joined = joined_attention(*(row for row in rows if row is not None))
                renamed[f"{place[0]}.qkv.{match[2]}"] = joined[:, :, None, None] if joined.ndim == 2 else joined
                continue
        path, _, leaf = name.rpartition(".")
        renamed |= _renamed(path, leaf, tensor, prefixes)
    return renamed


def _renamed(path: str, leaf: str, tensor: np.ndarray, prefixes: Mapping[str, tuple[str, str]]) -> dict[str, np.ndarray]:
    """One parameter by its new name; none for the rows that are joined elsewhere."""
    if path in prefixes:
        place, kind = prefixes[path]
        return {f"{place}.{'freqs' if kind == 'fourier' else leaf}": tensor}
    outer, _, inner = path.rpartition(".")
    if inner == "0":  # to_out.0
        outer, inner = outer.rpartition(".")[0], "to_out.0"
    place, kind = prefixes.get(outer, ("", ""))
    if kind == "resnet" and inner in _RESNET:
        return {f"{place}.{_RESNET[inner]}.{leaf}": tensor}
    if kind == "attention" and inner in ("to_k", "to_v"):
        return {}
    if kind == "attention" and inner in ("group_norm", "to_out.0"):
        part = "norm2" if inner == "group_norm" else "proj"
        return {f"{place}.{part}.{leaf}": tensor[:, :, None, None] if tensor.ndim == 2 else tensor}
    return {f"{path}.{leaf}": tensor}


def _prefixes(config: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """diffusers' submodules: `SongUNet`'s name of each, and its kind."""
    sizes = [config["img_resolution"] >> level for level in range(len(config["channel_mult"]))]
    top, bottom = (f"{sizes[i]}x{sizes[i]}" for i in (0, -1))
    blocks = config["num_blocks"]
    found = {
        "time_proj": ("map_noise", "fourier"),
        "time_embedding.linear_1": ("map_layer0", "plain"),
        "time_embedding.linear_2": ("map_layer1", "plain"),
        "conv_in": (f"enc.{top}_conv", "plain"),
        "conv_norm_out": (f"dec.{top}_aux_norm", "plain"),
        "conv_out": (f"dec.{top}_aux_conv", "plain"),
        "mid_block.resnets.0": (f"dec.{bottom}_in0", "resnet"),
        "mid_block.attentions.0": (f"dec.{bottom}_in0", "attention"),
        "mid_block.resnets.1": (f"dec.{bottom}_in1", "resnet"),
    }
    for level, size in enumerate(sizes):
        down, up, place = f"down_blocks.{level}", f"up_blocks.{len(sizes) - 1 - level}", f"{size}x{size}"
        for i in range(blocks):
            found[f"{down}.resnets.{i}"] = f"enc.{place}_block{i}", "resnet"
            found[f"{down}.attentions.{i}"] = f"enc.{place}_block{i}", "attention"
        for i in range(blocks + 1):
            found[f"{up}.resnets.{i}"] = f"dec.{place}_block{i}", "resnet"
        found[f"{up}.attentions.0"] = f"dec.{place}_block{blocks}", "attention"
        if level < len(sizes) - 1:
            below = f"{sizes[level + 1]}x{sizes[level + 1]}"
            found[f"{down}.resnet_down"] = f"enc.{below}_down", "resnet"
            found[f"{down}.skip_conv"] = f"enc.{below}_aux_skip", "plain"
        if level:
            above = f"{sizes[level - 1]}x{sizes[level - 1]}"
            found[f"{up}.resnet_up"] = f"dec.{above}_up", "resnet"
            found[f"{up}.skip_norm"] = f"dec.{place}_aux_norm", "plain"
            found[f"{up}.skip_conv"] = f"dec.{place}_aux_conv", "plain"
    return found
