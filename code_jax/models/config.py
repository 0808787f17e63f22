"""The architecture of a score network: what diffusers' ``UNet2DModel`` reads from ``config.json``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from code_jax.errors import UserError, brief
from code_jax.models.options import MAX_CHANNELS, MAX_CLASSES, MAX_LEVELS, MAX_SIZE, one_of, read_options, whole

DOWN_BLOCKS = ("DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D")
UP_BLOCKS = ("UpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D")
ACTIVATIONS = ("silu", "swish", "mish", "gelu", "relu")

_MAX_LAYERS, _MAX_BLOCKS = 32, 100  # of a level; of the way down: levels × layers

_OPTIONAL = (
    "time_embedding_dim", "time_sinusoids", "attention_head_dim", "num_attention_heads", "attn_norm_num_groups",
    "num_class_embeds",
)  # fmt: skip
NOT_OF_DIFFUSERS = {
    "time_sinusoids": "another number of sinusoids than of channels",
    "num_attention_heads": "heads of different sizes",
}
"""Options that diffusers' class does not have, and what they are for; None is what it does."""

# Options of UNet2DModel that this network answers to with one value only, and what any other value would make of it.
_ONLY: dict[str, tuple[Any, str]] = {
    "_class_name": ("UNet2DModel", "others, conditioned on text, say, take more than a noisy image and its time"),
    "class_embed_type": (None, "classes are rows of a table"),
    "time_embedding_type": ("positional", "time is embedded in fixed sinusoids"),
    "num_train_timesteps": (None, "time is embedded in fixed sinusoids"),
    "mid_block_type": ("UNetMidBlock2D", "the middle has two residual blocks"),
}
# What diffusers' EMAModel says beside the network's own options.
_AVERAGE = ("decay", "inv_gamma", "min_decay", "optimization_step", "power", "update_after_step", "use_ema_warmup")


@dataclasses.dataclass(frozen=True)
class UNet2DConfig:
    """Architecture of a `UNet2DModel`; field names, defaults and meanings are those of diffusers' class of that name.

    Attributes:
        sample_size: (height, width) of the images the network was trained on, in pixels.
        in_channels, out_channels: channels of the image.
        center_input_sample: map inputs from [0, 1] to [-1, 1] first.
        freq_shift, flip_sin_to_cos: variant of the sinusoidal time embedding.
        time_embedding_dim: width of the time embedding; None is four times the first level's channels.
        time_sinusoids: sines and cosines that it is made of; None is the first level's channels, as in diffusers' class.
        down_block_types, up_block_types: one name a level, from the finest level down and from the coarsest up.
        block_out_channels: channels of each level, finest first.
        layers_per_block: residual blocks of a level on the way down (one more on the way up).
        mid_block_scale_factor: divisor of the residual sums of the middle block.
        downsample_padding: 1 is symmetric, 0 is TensorFlow's (0, 1).
        downsample_type, upsample_type: "conv" or "resnet", for the attention blocks.
        dropout: dropout rate; applied only in training.
        act_fn: one of `ACTIVATIONS`.
        attention_head_dim: channels of an attention head; None is a single head.
        num_attention_heads: heads of every attention, in place of `attention_head_dim`; diffusers' class has no such option.
        norm_num_groups, norm_eps: of every GroupNorm.
        attn_norm_num_groups: groups of the middle attention's norm; None follows `norm_num_groups`.
        resnet_time_scale_shift: "default" adds the time embedding, "scale_shift" modulates the second norm by it.
        add_attention: attention in the middle block.
        num_class_embeds: rows of the table of class embeddings; None is a network without classes.

    Raises:
        UserError: for a value that no network can have, before anything is allocated.
    """

    sample_size: tuple[int, int] = (32, 32)
    in_channels: int = 3
    out_channels: int = 3
    center_input_sample: bool = False
    freq_shift: float = 0
    flip_sin_to_cos: bool = True
    time_embedding_dim: int | None = None
    time_sinusoids: int | None = None
    down_block_types: tuple[str, ...] = ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D")
    up_block_types: tuple[str, ...] = ("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D")
    block_out_channels: tuple[int, ...] = (224, 448, 672, 896)
    layers_per_block: int = 2
    mid_block_scale_factor: float = 1
    downsample_padding: int = 1
    downsample_type: str = "conv"
    upsample_type: str = "conv"
    dropout: float = 0.0
    act_fn: str = "silu"
    attention_head_dim: int | None = 8
    num_attention_heads: int | None = None
    norm_num_groups: int = 32
    attn_norm_num_groups: int | None = None
    norm_eps: float = 1e-5
    resnet_time_scale_shift: str = "default"
    add_attention: bool = True
    num_class_embeds: int | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _of_type(field.name, getattr(self, field.name), field.default)
        levels = len(self.block_out_channels)
        if not 1 <= levels <= MAX_LEVELS:
            raise UserError(f"block_out_channels has {levels} levels; 1 to {MAX_LEVELS} are supported")
        for name, kinds in (("down_block_types", DOWN_BLOCKS), ("up_block_types", UP_BLOCKS)):
            blocks = getattr(self, name)
            if len(blocks) != levels:
                raise UserError(f"{name} has {len(blocks)} entries for {levels} levels of block_out_channels")
            for block in blocks:
                one_of(name, block, kinds)
        one_of("downsample_type", self.downsample_type, ("conv", "resnet"))
        one_of("upsample_type", self.upsample_type, ("conv", "resnet"))
        one_of("act_fn", self.act_fn, ACTIVATIONS)
        one_of("resnet_time_scale_shift", self.resnet_time_scale_shift, ("default", "scale_shift"))
        one_of("downsample_padding", self.downsample_padding, (0, 1))
        if len(self.sample_size) != 2:
            raise UserError(f"sample_size is {brief(self.sample_size)}; it must be one number or height and width")
        for size in self.sample_size:
            whole("sample_size", size, MAX_SIZE)
            if size % 2 ** (levels - 1):
                raise UserError(f"sample_size {size} cannot be halved {levels - 1} times, as {levels} levels want")
        whole("in_channels", self.in_channels, 64)
        whole("out_channels", self.out_channels, 64)
        whole("layers_per_block", self.layers_per_block, _MAX_LAYERS)
        whole("norm_num_groups", self.norm_num_groups, MAX_CHANNELS)
        for channels in self.block_out_channels:
            whole("block_out_channels", channels, MAX_CHANNELS)
            if channels % self.norm_num_groups:
                raise UserError(f"block_out_channels {channels} is not a multiple of norm_num_groups {self.norm_num_groups}")
        for name in _OPTIONAL:
            if getattr(self, name) is not None:
                whole(name, getattr(self, name), MAX_CLASSES if name == "num_class_embeds" else 4 * MAX_CHANNELS)
        if levels * self.layers_per_block > _MAX_BLOCKS:
            raise UserError(f"{levels} levels of layers_per_block {self.layers_per_block} are more than {_MAX_BLOCKS} blocks")
        deepest = self.block_out_channels[-1]
        if deepest % (self.attn_norm_num_groups or 1):
            raise UserError(f"attn_norm_num_groups {self.attn_norm_num_groups} does not divide the {deepest} deepest channels")
        self._check_heads()
        # NaN fits no interval.
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout is {self.dropout}; it must lie in [0, 1)")
        if not 0 < self.norm_eps <= 1:
            raise UserError(f"norm_eps is {brief(self.norm_eps)}; it must lie in (0, 1]")
        if not 1e-3 <= self.mid_block_scale_factor <= 1e3:
            raise UserError(f"mid_block_scale_factor is {brief(self.mid_block_scale_factor)}; it must lie in [0.001, 1000]")
        most = self.sinusoids // 2
        if not 0 <= self.freq_shift < most:
            raise UserError(f"freq_shift is {brief(self.freq_shift)}; it must be at least 0 and below the {most} frequencies")

    def _check_heads(self) -> None:
        """Every attention has at least one head."""
        blocks = zip(self.down_block_types, self.up_block_types[::-1], self.block_out_channels, strict=True)
        attending = [channels for *kinds, channels in blocks if {"AttnDownBlock2D", "AttnUpBlock2D"} & set(kinds)]
        attending += [self.block_out_channels[-1]] if self.add_attention else []
        head, heads = self.attention_head_dim or 1, self.num_attention_heads or 1
        if attending and min(attending) < head and self.num_attention_heads is None:
            raise UserError(f"attention_head_dim {head} is more than the {min(attending)} channels of an attention")
        if wrong := [channels for channels in attending if channels % heads]:
            raise UserError(f"num_attention_heads {heads} does not divide the {wrong[0]} channels of an attention")

    @property
    def sinusoids(self) -> int:
        """Sines and cosines that embed a time."""
        return self.time_sinusoids or self.block_out_channels[0]

    def head_channels(self, channels: int) -> int:
        """Channels of a head of an attention over so many channels."""
        if self.num_attention_heads is not None:
            return channels // self.num_attention_heads
        return self.attention_head_dim or channels

    @classmethod
    def from_diffusers(cls, config: Mapping[str, Any]) -> UNet2DConfig:
        """Reads the mapping of a diffusers ``config.json``.

        Raises:
            UserError: names an option that is unknown, or that has a value this network does not answer to.
        """
        size = config.get("sample_size")
        if size is None:
            raise UserError("sample_size is missing from the network's config: state the height and width in pixels")
        square = size if isinstance(size, (list, tuple)) else (size, size)
        return read_options(cls, {**config, "sample_size": tuple(square)}, _ONLY, _AVERAGE)

    def to_diffusers(self) -> dict[str, Any]:
        """The mapping that diffusers' ``UNet2DModel.from_config`` reads."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(self).items()}
        values = {name: value for name, value in values.items() if value is not None or name not in NOT_OF_DIFFUSERS}
        height, width = self.sample_size
        return {"_class_name": "UNet2DModel", **values, "sample_size": height if height == width else [height, width]}


def _of_type(name: str, value: Any, default: Any) -> None:
    """A list where the default is one, a number or None where it is a number, a flag where it is a flag."""
    if isinstance(default, (tuple, bool, str)):
        fits = isinstance(value, type(default))
    else:
        optional = value is None and name in _OPTIONAL
        fits = optional or (isinstance(value, (int, float)) and not isinstance(value, bool))
    if not fits:
        raise UserError(f"{name} is {brief(value)}, which is not of the type of {default!r}")
