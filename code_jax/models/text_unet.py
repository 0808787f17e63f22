"""diffusers' ``UNet2DConditionModel``, as Stable Diffusion 1.x has it (Rombach et al. 2022): a U-Net that looks at a text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from code_jax.errors import UserError
from code_jax.models.layers import (
    Downsample2D,
    Dtype,
    ResnetBlock2D,
    TimestepEmbedding,
    Upsample2D,
    attend,
    conv,
    dense,
    group_norm,
    initialize,
    network_inputs,
    precision,
    timestep_embedding,
)
from code_jax.models.options import (
    MAX_CHANNELS,
    MAX_LAYERS,
    MAX_LEVELS,
    MAX_SIZE,
    flag,
    number,
    one_of,
    read_options,
    whole,
    wholes,
)

_DOWN, _UP = ("CrossAttnDownBlock2D", "DownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D")
# Options of the class that this network answers to with one value alone.
_PLAIN: dict[str, Any] = {
    "act_fn": "silu", "addition_embed_type": None, "attention_type": "default", "center_input_sample": False,
    "class_embed_type": None, "class_embeddings_concat": False, "conv_in_kernel": 3, "conv_out_kernel": 3,
    "cross_attention_norm": None, "downsample_padding": 1, "dual_cross_attention": False, "encoder_hid_dim": None,
    "encoder_hid_dim_type": None, "mid_block_only_cross_attention": None, "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn", "num_attention_heads": None, "num_class_embeds": None,
    "only_cross_attention": False, "resnet_out_scale_factor": 1.0, "resnet_skip_time_act": False,
    "resnet_time_scale_shift": "default", "time_cond_proj_dim": None, "time_embedding_act_fn": None, "time_embedding_dim": None,
    "time_embedding_type": "positional", "timestep_post_act": None, "transformer_layers_per_block": 1,
}  # fmt: skip
_WITHOUT_EFFECT = (
    "addition_embed_type_num_heads", "addition_time_embed_dim", "projection_class_embeddings_input_dim", "upcast_attention",
    "reverse_transformer_layers_per_block", "dropout",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class TextUNetConfig:
    """Architecture of a `UNet2DConditionModel`; names, defaults and meanings are those of diffusers' class, where that has them.

    Attributes:
        sample_size: height and width of the latents.
        in_channels, out_channels: their channels.
        block_out_channels: channels of each level, finest first.
        down_block_types, up_block_types: one name a level, from the finest down and from the coarsest up.
        layers_per_block: residual blocks of a level on the way down (one more on the way up).
        attention_head_dim: heads of every attention, in spite of its name; of each level, or of all.
        cross_attention_dim: channels of a token of the text.
        prompt_tokens: tokens of the text.
        use_linear_projection: whether latents enter an attention by a linear layer, or by a 1×1 convolution.
        norm_num_groups, norm_eps: of every GroupNorm of a residual block.
        flip_sin_to_cos, freq_shift: variant of the sinusoidal time embedding.

    Raises:
        UserError: for a value that no network can have, before anything is allocated.
    """

    sample_size: int = 64
    in_channels: int = 4
    out_channels: int = 4
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    down_block_types: tuple[str, ...] = (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D")
    up_block_types: tuple[str, ...] = ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3)
    layers_per_block: int = 2
    attention_head_dim: int | tuple[int, ...] = 8
    cross_attention_dim: int = 1280
    prompt_tokens: int = 77
    use_linear_projection: bool = False
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    flip_sin_to_cos: bool = True
    freq_shift: int = 0

    def __post_init__(self) -> None:
        whole("sample_size", self.sample_size, MAX_SIZE)
        whole("in_channels", self.in_channels, 64)
        whole("out_channels", self.out_channels, 64)
        wholes("block_out_channels", self.block_out_channels, MAX_CHANNELS, MAX_LEVELS)
        levels = len(self.block_out_channels)
        for name, kinds in (("down_block_types", _DOWN), ("up_block_types", _UP)):
            blocks = getattr(self, name)
            if not isinstance(blocks, tuple) or len(blocks) != levels:
                raise UserError(f"{name} does not have one entry for each of {levels} levels of block_out_channels")
            for block in blocks:
                one_of(name, block, kinds)
        whole("layers_per_block", self.layers_per_block, MAX_LAYERS)
        whole("cross_attention_dim", self.cross_attention_dim, MAX_CHANNELS)
        whole("prompt_tokens", self.prompt_tokens, 4096)
        flag("use_linear_projection", self.use_linear_projection)
        whole("norm_num_groups", self.norm_num_groups, MAX_CHANNELS)
        number("norm_eps", self.norm_eps, 1e-12, 1)
        flag("flip_sin_to_cos", self.flip_sin_to_cos)
        whole("freq_shift", self.freq_shift, 1, 0)
        if self.sample_size % 2 ** (levels - 1):
            raise UserError(f"sample_size {self.sample_size} cannot be halved {levels - 1} times, as {levels} levels want")
        for channels, heads in zip(self.block_out_channels, self.heads, strict=True):
            whole("attention_head_dim", heads, 256)
            if channels % self.norm_num_groups or channels % heads:
                raise UserError(f"block_out_channels {channels} is no multiple of {self.norm_num_groups} groups or {heads} heads")

    @property
    def heads(self) -> tuple[int, ...]:
        """Heads of the attentions of each level, finest first."""
        stated, levels = self.attention_head_dim, len(self.block_out_channels)
        return stated if isinstance(stated, tuple) and len(stated) == levels else (stated,) * levels  # type: ignore[return-value]

    @classmethod
    def from_diffusers(cls, config: Mapping[str, Any]) -> TextUNetConfig:
        """Reads the mapping of a diffusers ``config.json``; raises UserError that names what is not supported."""
        only = {name: (value, "Stable Diffusion 1.x has no other") for name, value in _PLAIN.items()}
        return read_options(cls, config, only, _WITHOUT_EFFECT)


class _Attention(nn.Module):
    """Attention of pixels to pixels, or to tokens."""

    heads: int
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array) -> jax.Array:
        batch, _, channels = x.shape

        def rows(name: str, x: jax.Array) -> jax.Array:
            options = {"dtype": self.dtype, "precision": precision(self.dtype), "kernel_init": initialize}
            made = nn.Dense(channels, use_bias=False, name=name, **options)(x)
            return made.reshape(batch, -1, self.heads, channels // self.heads)

        h = attend(rows("to_q", x), rows("to_k", context), rows("to_v", context), self.dtype)
        return dense(channels, "to_out.0", self.dtype)(h.reshape(x.shape))


class _Gated(nn.Module):
    """A linear layer whose one half gates the other by a GELU."""

    features: int
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        h, gate = jnp.split(dense(2 * self.features, "proj", self.dtype)(x), 2, axis=-1)
        return h * nn.gelu(gate, approximate=False)


class _Perceptron(nn.Module):
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return dense(x.shape[-1], "net.2", self.dtype)(_Gated(4 * x.shape[-1], self.dtype, name="net.0")(x))


class _Block(nn.Module):
    """Attention among pixels, attention to the text, perceptron, each after a norm."""

    heads: int
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, text: jax.Array) -> jax.Array:
        def norm(name: str, x: jax.Array) -> jax.Array:
            return nn.LayerNorm(1e-5, name=name)(x.astype(jnp.float32)).astype(self.dtype)

        h = norm("norm1", x)
        x = x + _Attention(self.heads, self.dtype, name="attn1")(h, h)
        x = x + _Attention(self.heads, self.dtype, name="attn2")(norm("norm2", x), text)
        return x + _Perceptron(self.dtype, name="ff")(norm("norm3", x))


class _Transformer(nn.Module):
    """A `_Block` between two projections, with a residual connection."""

    config: TextUNetConfig
    heads: int
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, text: jax.Array) -> jax.Array:
        batch, height, width, channels = x.shape
        linear = self.config.use_linear_projection

        def project(name: str, h: jax.Array) -> jax.Array:
            return dense(channels, name, self.dtype)(h) if linear else conv(channels, 1, name, self.dtype)(h)

        h = project("proj_in", group_norm(self.config.norm_num_groups, 1e-6, "norm", self.dtype)(x))
        h = _Block(self.heads, self.dtype, name="transformer_blocks.0")(h.reshape(batch, height * width, channels), text)
        return x + project("proj_out", h.reshape(x.shape))


class _Level(nn.Module):
    """The residual blocks of a level on one of the ways, each with its attention, and the change of size."""

    config: TextUNetConfig
    level: int
    dtype: Dtype
    up: bool

    @nn.compact
    def __call__(self, x: jax.Array, embedding: jax.Array, text: jax.Array, skips: list[jax.Array]) -> jax.Array:
        config, level, levels = self.config, self.level, len(self.config.block_out_channels)
        kinds = config.up_block_types[::-1] if self.up else config.down_block_types
        for i in range(config.layers_per_block + self.up):
            x = jnp.concatenate([x, skips.pop()], axis=-1) if self.up else x
            x = _resnet(config, config.block_out_channels[level], f"resnets.{i}", self.dtype)(x, embedding)
            if kinds[level].startswith("CrossAttn"):
                x = _Transformer(config, config.heads[level], self.dtype, name=f"attentions.{i}")(x, text)
            if not self.up:
                skips.append(x)
        if self.up and level:
            return Upsample2D(self.dtype, name="upsamplers.0")(x)
        if not self.up and level < levels - 1:
            x = Downsample2D(1, self.dtype, name="downsamplers.0")(x)
            skips.append(x)
        return x


class _Middle(nn.Module):
    config: TextUNetConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, embedding: jax.Array, text: jax.Array) -> jax.Array:
        config = self.config
        x = _resnet(config, x.shape[-1], "resnets.0", self.dtype)(x, embedding)
        x = _Transformer(config, config.heads[-1], self.dtype, name="attentions.0")(x, text)
        return _resnet(config, x.shape[-1], "resnets.1", self.dtype)(x, embedding)


def _resnet(config: TextUNetConfig, features: int, name: str, dtype: Dtype) -> ResnetBlock2D:
    return ResnetBlock2D(features, config.norm_num_groups, config.norm_eps, "default", "silu", dtype, name=name)


class UNet2DConditionModel(nn.Module):
    """The network of Stable Diffusion, by the name of diffusers' class.

    ``apply({"params": params}, x, t)`` maps latents x [B, H, W, C] (float32, VP scale) at float timesteps t [B] to the network's
    output in float32. ``condition`` is the embedding of a text, [B, N, C]; without it, that of the empty prompt, which is one of
    the parameters (``empty_prompt``).
    """

    config: TextUNetConfig
    dtype: Dtype = jnp.float32

    classes, null_class = 0, None

    @property
    def inputs(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and dtypes of one image's inputs."""
        size = self.config.sample_size
        return network_inputs((size, size), self.config.in_channels, None)

    @nn.compact
    def __call__(self, x: jax.Array, t: jax.Array, train: bool = False, condition: jax.Array | None = None) -> jax.Array:
        config, dtype, channels = self.config, self.dtype, self.config.block_out_channels
        empty = self.param("empty_prompt", nn.initializers.zeros, (config.prompt_tokens, config.cross_attention_dim))
        text = jnp.broadcast_to(empty, (len(x), *empty.shape)) if condition is None else condition
        embedding = timestep_embedding(t, channels[0], config.flip_sin_to_cos, config.freq_shift)
        embedding = TimestepEmbedding(4 * channels[0], dtype, name="time_embedding")(embedding)
        x = conv(channels[0], 3, "conv_in", dtype)(x)
        skips = [x]
        for level in range(len(channels)):
            x = _Level(config, level, dtype, False, name=f"down_blocks.{level}")(x, embedding, text, skips)
        x = _Middle(config, dtype, name="mid_block")(x, embedding, text)
        for place, level in enumerate(reversed(range(len(channels)))):
            x = _Level(config, level, dtype, True, name=f"up_blocks.{place}")(x, embedding, text, skips)
        x = nn.silu(group_norm(config.norm_num_groups, config.norm_eps, "conv_norm_out", dtype)(x))
        return conv(config.out_channels, 3, "conv_out", dtype)(x).astype(jnp.float32)
