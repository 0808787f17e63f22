"""diffusers' ``UNet2DModel`` in Flax: same architecture, same parameter names, NHWC."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from code_jax.errors import UserError
from code_jax.models.config import UNet2DConfig
from code_jax.models.layers import (
    Attention,
    Downsample2D,
    Dtype,
    Embedding,
    ResnetBlock2D,
    TimestepEmbedding,
    Upsample2D,
    conv,
    group_norm,
    network_inputs,
    timestep_embedding,
)


def _resnet(config: UNet2DConfig, features: int, name: str, dtype: Dtype, **options: Any) -> ResnetBlock2D:
    return ResnetBlock2D(
        features,
        config.norm_num_groups,
        config.norm_eps,
        config.resnet_time_scale_shift,
        config.act_fn,
        dtype,
        config.dropout,
        name=name,
        **options,
    )


def _attention(config: UNet2DConfig, features: int, name: str, dtype: Dtype) -> Attention:
    return Attention(config.head_channels(features), config.norm_num_groups, config.norm_eps, dtype, name=name)


class DownBlock(nn.Module):
    """One level on the way down; returns the features and what the way up will concatenate."""

    config: UNet2DConfig
    level: int
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, embedding: jax.Array, train: bool) -> tuple[jax.Array, list[jax.Array]]:
        config, kind = self.config, self.config.down_block_types[self.level]
        features, skips = config.block_out_channels[self.level], []
        for i in range(config.layers_per_block):
            x = _resnet(config, features, f"resnets.{i}", self.dtype)(x, embedding, train)
            if kind == "AttnDownBlock2D":
                x = _attention(config, features, f"attentions.{i}", self.dtype)(x)
            skips.append(x)
        if self.level < len(config.block_out_channels) - 1:
            by_resnet = config.downsample_type == "resnet" and kind == "AttnDownBlock2D"
            if by_resnet or kind == "ResnetDownsampleBlock2D":
                resample = _resnet(config, features, "downsamplers.0", self.dtype, resample="down")
                x = resample(x, embedding, train)
            else:
                x = Downsample2D(config.downsample_padding, self.dtype, name="downsamplers.0")(x)
            skips.append(x)
        return x, skips


class MidBlock(nn.Module):
    """The coarsest level: residual block, attention, residual block."""

    config: UNet2DConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, embedding: jax.Array, train: bool) -> jax.Array:
        config, features = self.config, self.config.block_out_channels[-1]
        factor = config.mid_block_scale_factor
        x = _resnet(config, features, "resnets.0", self.dtype, output_scale_factor=factor)(x, embedding, train)
        if config.add_attention:
            groups = config.attn_norm_num_groups
            # diffusers gives this attention no norm of its own when the time embedding scales and shifts.
            if groups is None and config.resnet_time_scale_shift == "default":
                groups = config.norm_num_groups
            head = config.head_channels(features)
            x = Attention(head, groups, config.norm_eps, self.dtype, factor, name="attentions.0")(x)
        return _resnet(config, features, "resnets.1", self.dtype, output_scale_factor=factor)(x, embedding, train)


class UpBlock(nn.Module):
    """One level on the way up; takes what the way down left, last first."""

    config: UNet2DConfig
    level: int
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, skips: list[jax.Array], embedding: jax.Array, train: bool) -> jax.Array:
        config, kind = self.config, self.config.up_block_types[self.level]
        features = config.block_out_channels[::-1][self.level]
        for i in range(config.layers_per_block + 1):
            x = jnp.concatenate([x, skips.pop()], axis=-1)
            x = _resnet(config, features, f"resnets.{i}", self.dtype)(x, embedding, train)
            if kind == "AttnUpBlock2D":
                x = _attention(config, features, f"attentions.{i}", self.dtype)(x)
        if self.level < len(config.block_out_channels) - 1:
            by_resnet = config.upsample_type == "resnet" and kind == "AttnUpBlock2D"
            if by_resnet or kind == "ResnetUpsampleBlock2D":
                x = _resnet(config, features, "upsamplers.0", self.dtype, resample="up")(x, embedding, train)
            else:
                x = Upsample2D(self.dtype, name="upsamplers.0")(x)
        return x


class UNet2DModel(nn.Module):
    """The score network of the DDPM family (Ho et al. 2020, appendix B), as diffusers' ``UNet2DModel`` computes it.

    ``apply({"params": params}, x, t)`` maps images x [B, H, W, C] (float32, VP scale) at float timesteps t [B] to the
    network's output [B, H, W, C] in float32: ε, v or x_0, by the scheduler's prediction type. H and W must be multiples of
    2^(levels - 1). ``condition`` is the labels [B] (whole numbers) of a network with classes. ``dtype`` is the dtype of
    convolutions and products (float32 or bfloat16).
    """

    config: UNet2DConfig
    dtype: Dtype = jnp.float32

    null_class = None  # no row of the table is known to stand for no class

    @property
    def classes(self) -> int:
        """Number of labels that it takes; 0 for a network without classes."""
        return self.config.num_class_embeds or 0

    @property
    def inputs(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and dtypes of one image's inputs."""
        return network_inputs(self.config.sample_size, self.config.in_channels, self.config.num_class_embeds)

    @nn.compact
    def __call__(self, x: jax.Array, t: jax.Array, train: bool = False, condition: jax.Array | None = None) -> jax.Array:
        config, dtype = self.config, self.dtype
        channels = config.block_out_channels
        embedding = timestep_embedding(t, config.sinusoids, config.flip_sin_to_cos, config.freq_shift)
        width = config.time_embedding_dim or 4 * channels[0]
        embedding = TimestepEmbedding(width, dtype, name="time_embedding")(embedding)
        if config.num_class_embeds is not None:
            if condition is None:
                raise UserError(f"the network wants a label from 0 to {config.num_class_embeds - 1}")
            embedding = embedding + Embedding(config.num_class_embeds, width, dtype, name="class_embedding")(condition)

        x = 2 * x - 1 if config.center_input_sample else x
        x = conv(channels[0], 3, "conv_in", dtype)(x)
        skips = [x]
        for level in range(len(channels)):
            x, left = DownBlock(config, level, dtype, name=f"down_blocks.{level}")(x, embedding, train)
            skips += left
        x = MidBlock(config, dtype, name="mid_block")(x, embedding, train)
        for level in range(len(channels)):
            x = UpBlock(config, level, dtype, name=f"up_blocks.{level}")(x, skips, embedding, train)
        x = nn.silu(group_norm(config.norm_num_groups, config.norm_eps, "conv_norm_out", dtype)(x))
        return conv(config.out_channels, 3, "conv_out", dtype)(x).astype(jnp.float32)
