"""OpenAI guided-diffusion weights (Dhariwal & Nichol 2021, ADM) as a `UNet2DModel`: one file, no config beside it.

The network is diffusers' with other names: an input block is a residual block with its attention, or a resampling; a level ends
on the way up in the block that also resamples. Most of the config follows from the shapes; `GuidedDiffusion` is the rest.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from checkpoints_convert.contents import Contents
from checkpoints_convert.state_dict import canonical
from checkpoints_convert.tensors import read_tensors
from code_jax.errors import UserError

ATTENTION_ORDERS = ("legacy", "new")
NOISE_SCHEDULES = ("linear", "cosine")
_GROUPS = 32  # of every norm of this family

_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_ATTENTION = {"norm": "group_norm", "proj_out": "to_out.0", "to_q": "to_q", "to_k": "to_k", "to_v": "to_v"}
_QKV = re.compile(r"(.+\.)qkv(\.weight|\.bias)")


@dataclasses.dataclass(frozen=True)
class GuidedDiffusion:
    """What the shapes of guided-diffusion weights do not tell.

    Attributes:
        image_size: height and width of the training images, in pixels.
        head_channels: channels of an attention head (64 in the published 256×256 networks).
        num_heads: heads of every attention, in place of `head_channels` (4 in the networks of improved-diffusion).
        attention_order: order of the rows of a qkv matrix: "legacy" is head by head q, k, v; "new" is q, k, v of all heads.
        noise_schedule: "linear" (β from 1e-4 to 0.02) or "cosine", of 1000 steps.
    """

    image_size: int = 256
    head_channels: int | None = None
    num_heads: int | None = None
    attention_order: str = "legacy"
    noise_schedule: str = "linear"

    def __post_init__(self) -> None:
        for name, kinds in (("attention_order", ATTENTION_ORDERS), ("noise_schedule", NOISE_SCHEDULES)):
            if getattr(self, name) not in kinds:
                raise UserError(f"{name} {getattr(self, name)!r} is not supported; choose from {', '.join(kinds)}")
        for name in ("head_channels", "num_heads"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.head_channels is not None and self.num_heads is not None:
            raise UserError(
                f"head_channels {self.head_channels} and num_heads {self.num_heads} are both given; state one of them"
            )

    def head(self, channels: int) -> int:
        """Channels of a head of an attention over so many channels; raises UserError where it is not known or does not fit."""
        if self.head_channels is None and self.num_heads is None:
            raise UserError(
                f"the shapes do not tell how the {channels} channels of an attention are split into heads: state "
                "--head-channels (64 in the published 256×256 networks) or --num-heads (often 4 in others)"
            )
        head = self.head_channels or channels // (self.num_heads or 1)
        if not head or channels % head or (self.num_heads and channels % self.num_heads):
            stated = f"head_channels {self.head_channels}" if self.head_channels else f"num_heads {self.num_heads}"
            raise UserError(f"{stated} does not divide the {channels} channels of an attention")
        return head


def read_guided_diffusion(path: str | Path, facts: GuidedDiffusion = GuidedDiffusion()) -> Contents:
    """Reads a file of guided-diffusion weights (``256x256_diffusion_uncond.pt``, ``ffhq_10m.pt``).

    Raises:
        UserError: if the weights are of another family, or do not fit what was stated.
    """
    state = read_tensors(path)
    try:
        return convert_guided_diffusion(state, facts)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def convert_guided_diffusion(state: Mapping[str, np.ndarray], facts: GuidedDiffusion) -> Contents:
    """What a guided-diffusion state dict holds; see `read_guided_diffusion`."""
    state = canonical(state)
    config = _infer_config(state, facts)
    schedule = {"linear": "linear", "cosine": "squaredcos_cap_v2"}[facts.noise_schedule]
    scheduler = {
        "_class_name": "DDPMScheduler",
        "beta_schedule": schedule,
        "num_train_timesteps": 1000,
        "beta_start": 1e-4,
        "beta_end": 0.02,
    }
    prefixes = _prefixes(config)
    renamed = {_renamed(name, prefixes): tensor for name, tensor in _split_attention(state, facts)}
    return Contents(config, scheduler, lambda: renamed)


def _infer_config(state: Mapping[str, np.ndarray], facts: GuidedDiffusion) -> dict[str, Any]:
    """diffusers' config, with the levels counted on the way up: the block that ends one has a second part, which resamples.

    On the way down, a residual block that halves the size has the names and the shapes of one that does not.
    """
    blocks = 0
    while f"output_blocks.{blocks}.0.in_layers.0.weight" in state:
        blocks += 1
    if not blocks:
        raise UserError("these are no guided-diffusion weights: output_blocks.0.0.in_layers.0.weight is missing")
    resampling = {
        k: kind
        for k in range(blocks)
        for kind, mark in (("resnet", "in_layers.0.weight"), ("conv", "conv.weight"))
        if f"output_blocks.{k}.1.{mark}" in state or f"output_blocks.{k}.2.{mark}" in state
    }
    levels = len(resampling) + 1
    each = blocks // levels
    if blocks % levels or each < 2 or list(resampling) != [each * level - 1 for level in range(1, levels)]:
        raise UserError(f"the {blocks} output blocks do not form levels: those that resample are {list(resampling)}")

    kinds = set(resampling.values())
    by_resnet = kinds == {"resnet"}
    firsts = [each * level for level in reversed(range(levels))]  # of each level, finest level first
    channels = [_get(state, f"output_blocks.{k}.0.out_layers.3.weight").shape[0] for k in firsts]
    attends = [f"output_blocks.{k}.1.qkv.weight" in state for k in firsts]
    plain = ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D") if by_resnet else ("DownBlock2D", "UpBlock2D")
    width, sinusoids = _get(state, "time_embed.0.weight", 2).shape
    in_channels, outputs = _get(state, "input_blocks.0.0.weight", 4).shape[1], _get(state, "out.2.weight", 4).shape[0]
    modulates = _get(state, "middle_block.0.emb_layers.1.weight").shape[0] == 2 * channels[-1]
    return {
        "sample_size": facts.image_size,
        "in_channels": in_channels,
        "out_channels": outputs,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "time_embedding_dim": width,
        **({} if sinusoids == channels[0] else {"time_sinusoids": sinusoids}),
        "down_block_types": ["AttnDownBlock2D" if attention else plain[0] for attention in attends],
        "up_block_types": ["AttnUpBlock2D" if attention else plain[1] for attention in reversed(attends)],
        "block_out_channels": channels,
        "layers_per_block": each - 1,
        "downsample_type": "resnet" if by_resnet else "conv",
        "upsample_type": "resnet" if by_resnet else "conv",
        **_heads([channels for channels, attention in zip(channels, attends, strict=True) if attention] + channels[-1:], facts),
        "norm_num_groups": _GROUPS,
        "attn_norm_num_groups": _GROUPS,
        "resnet_time_scale_shift": "scale_shift" if modulates else "default",
        "num_class_embeds": _get(state, "label_emb.weight", 2).shape[0] if "label_emb.weight" in state else None,
    }


def _heads(attending: list[int], facts: GuidedDiffusion) -> dict[str, int]:
    """How attentions over so many channels are split into heads; diffusers knows heads of one size alone."""
    sizes = {facts.head(channels) for channels in attending}
    return {"attention_head_dim": sizes.pop()} if len(sizes) == 1 else {"num_attention_heads": facts.num_heads or 1}


def _split_attention(state: Mapping[str, np.ndarray], facts: GuidedDiffusion) -> Iterator[tuple[str, np.ndarray]]:
    """Turns the rows of each qkv (a convolution over a sequence, [3C, C, 1]) into to_q, to_k, to_v; and drops that last axis."""
    for name, tensor in state.items():
        tensor = tensor[..., 0] if tensor.ndim == 3 and tensor.shape[-1] == 1 else tensor
        match = _QKV.fullmatch(name)
        if not match:
            yield name, tensor
            continue
        rows = tensor.shape[0] if tensor.ndim else 0
        if not rows or rows % 3:
            raise UserError(f"{name} has {rows} rows, which are no multiple of 3")
        head = facts.head(rows // 3)
        shape = (-1, 3, head) if facts.attention_order == "legacy" else (3, -1, head)
        parts = np.moveaxis(tensor.reshape(*shape, *tensor.shape[1:]), shape.index(3), 0)
        for part, values in zip(("to_q", "to_k", "to_v"), parts, strict=True):
            yield f"{match[1]}{part}{match[2]}", values.reshape(rows // 3, *tensor.shape[1:])


def _prefixes(config: Mapping[str, Any]) -> dict[str, tuple[str, Mapping[str, str] | None]]:
    """guided-diffusion's submodules: diffusers' name of each, and how the names inside differ (None: not at all)."""
    layers, levels = config["layers_per_block"], len(config["block_out_channels"])
    by_resnet = config["downsample_type"] == "resnet"
    found: dict[str, tuple[str, Mapping[str, str] | None]] = {
        "time_embed.0": ("time_embedding.linear_1", None),
        "time_embed.2": ("time_embedding.linear_2", None),
        "label_emb": ("class_embedding", None),
        "input_blocks.0.0": ("conv_in", None),
        "out.0": ("conv_norm_out", None),
        "out.2": ("conv_out", None),
        "middle_block.0": ("mid_block.resnets.0", _RESNET),
        "middle_block.1": ("mid_block.attentions.0", _ATTENTION),
        "middle_block.2": ("mid_block.resnets.1", _RESNET),
    }
    for level in range(levels):
        for i in range(layers + 1):
            down, up = 1 + level * (layers + 1) + i, level * (layers + 1) + i
            attends = config["up_block_types"][level] == "AttnUpBlock2D"
            found[f"output_blocks.{up}.0"] = f"up_blocks.{level}.resnets.{i}", _RESNET
            if attends:
                found[f"output_blocks.{up}.1"] = f"up_blocks.{level}.attentions.{i}", _ATTENTION
            if i < layers:
                found[f"input_blocks.{down}.0"] = f"down_blocks.{level}.resnets.{i}", _RESNET
                found[f"input_blocks.{down}.1"] = f"down_blocks.{level}.attentions.{i}", _ATTENTION
            else:
                rename = _RESNET if by_resnet else {"op": "conv", "conv": "conv"}
                found[f"input_blocks.{down}.0"] = f"down_blocks.{level}.downsamplers.0", rename
                found[f"output_blocks.{up}.{1 + attends}"] = f"up_blocks.{level}.upsamplers.0", rename
    return found


def _renamed(name: str, prefixes: Mapping[str, tuple[str, Mapping[str, str] | None]]) -> str:
    """diffusers' name of a parameter; a name that is not known stays, to be reported as left over."""
    path, _, leaf = name.rpartition(".")
    if path in prefixes and prefixes[path][1] is None:
        return f"{prefixes[path][0]}.{leaf}"
    for depth in (1, 2):
        prefix, inner = ".".join(path.split(".")[:-depth]), ".".join(path.split(".")[-depth:])
        there, renames = prefixes.get(prefix, ("", None))
        if renames and inner in renames:
            return f"{there}.{renames[inner]}.{leaf}"
    return name


def _get(state: Mapping[str, np.ndarray], name: str, ndim: int | None = None) -> np.ndarray:
    tensor = state.get(name)
    if tensor is None or not tensor.ndim or ndim not in (None, tensor.ndim):
        raise UserError(f"{name} is {'missing' if tensor is None else f'of shape {list(tensor.shape)}'}")
    return tensor
