"""EDM2's magnitude-preserving network (Karras et al. 2024), by the names of the reference's parts."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from code_jax.errors import UserError
from code_jax.models.layers import Dtype, attend, network_inputs, precision
from code_jax.models.options import (
    MAX_CHANNELS,
    MAX_CLASSES,
    MAX_LAYERS,
    MAX_LEVELS,
    MAX_SIZE,
    number,
    one_of,
    read_options,
    whole,
    wholes,
)
from code_jax.models.resampling import FILTERS, double, halve

_EPS = 1e-4
_SILU_GAIN = 0.596  # root mean square of SiLU of a unit Gaussian (equation 81)


@dataclasses.dataclass(frozen=True)
class EDM2UNetConfig:
    """Architecture of an `EDM2UNet`; names, defaults and meanings are those of the reference's ``UNet`` and ``Block``.

    Attributes:
        img_resolution: height and width of the training images (or latents), in pixels.
        img_channels: their channels.
        label_dim: number of classes; 0 is a network without classes.
        model_channels: channels of the finest level for a factor of 1.
        channel_mult: factor of each level, finest first.
        channel_mult_noise, channel_mult_emb: widths of the noise level's embedding and of the whole one, in `model_channels`;
            None are those of the finest and of the widest level.
        num_blocks: residual blocks of a level on the way down (one more on the way up).
        attn_resolutions: heights of the levels with attention.
        channels_per_head: channels of an attention head.
        label_balance, concat_balance, res_balance, attn_balance: weights t of the magnitude-preserving sums.
        clip_act: bound of every block's activations; None is no bound.
        dropout: dropout rate; applied only in training.
        resample_filter: (1, 1) or (1, 3, 3, 1).

    Raises:
        UserError: for a value that no network can have, before anything is allocated.
    """

    img_resolution: int
    img_channels: int
    label_dim: int = 0
    model_channels: int = 192
    channel_mult: tuple[int, ...] = (1, 2, 3, 4)
    channel_mult_noise: int | None = None
    channel_mult_emb: int | None = None
    num_blocks: int = 3
    attn_resolutions: tuple[int, ...] = (16, 8)
    channels_per_head: int = 64
    label_balance: float = 0.5
    concat_balance: float = 0.5
    res_balance: float = 0.3
    attn_balance: float = 0.3
    clip_act: float | None = 256
    dropout: float = 0.0
    resample_filter: tuple[int, ...] = (1, 1)

    def __post_init__(self) -> None:
        whole("img_resolution", self.img_resolution, MAX_SIZE)
        whole("img_channels", self.img_channels, 64)
        whole("label_dim", self.label_dim, MAX_CLASSES, 0)
        whole("model_channels", self.model_channels, MAX_CHANNELS)
        wholes("channel_mult", self.channel_mult, 64, MAX_LEVELS)
        for name in ("channel_mult_noise", "channel_mult_emb"):
            if getattr(self, name) is not None:
                whole(name, getattr(self, name), 64)
        whole("num_blocks", self.num_blocks, MAX_LAYERS)
        wholes("attn_resolutions", self.attn_resolutions, MAX_SIZE, MAX_LEVELS, 0)
        whole("channels_per_head", self.channels_per_head, MAX_CHANNELS)
        for name in ("label_balance", "concat_balance", "res_balance", "attn_balance"):
            number(name, getattr(self, name), 0, 1)
        if self.clip_act is not None:
            number("clip_act", self.clip_act, 1, 1e6)
        number("dropout", self.dropout, 0, 0.99)
        one_of("resample_filter", self.resample_filter, FILTERS)
        if self.img_resolution % 2 ** (len(self.channel_mult) - 1):
            raise UserError(f"img_resolution {self.img_resolution} cannot be halved {len(self.channel_mult) - 1} times")
        for level, channels in enumerate(self.level_channels):
            attends = self.img_resolution >> level in self.attn_resolutions or level == len(self.level_channels) - 1
            if channels > MAX_CHANNELS:
                raise UserError(f"channel_mult makes {channels} channels; at most {MAX_CHANNELS} are supported")
            if attends and channels % self.channels_per_head:
                raise UserError(
                    f"channels_per_head {self.channels_per_head} does not divide the {channels} channels of an attention"
                )

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of each level, finest first."""
        return tuple(self.model_channels * factor for factor in self.channel_mult)

    @property
    def noise_channels(self) -> int:
        """Width of the noise level's embedding."""
        return self.level_channels[0] if self.channel_mult_noise is None else self.model_channels * self.channel_mult_noise

    @property
    def embedding_channels(self) -> int:
        """Width of the embedding."""
        return max(self.level_channels) if self.channel_mult_emb is None else self.model_channels * self.channel_mult_emb

    @classmethod
    def from_options(cls, config: Mapping[str, Any]) -> EDM2UNetConfig:
        """Reads a mapping of the reference's arguments; raises UserError that names what is not supported."""
        return read_options(cls, config, {})


def normalize(x: jax.Array, axes: int | tuple[int, ...]) -> jax.Array:
    """Divides by the root mean square over some axes, taken in float32 (equation 47)."""
    size = jnp.sqrt(jnp.mean(jnp.square(x.astype(jnp.float32)), axes, keepdims=True))
    return x / (size + _EPS).astype(x.dtype)


def mp_silu(x: jax.Array) -> jax.Array:
    """SiLU that keeps unit magnitude (equation 81)."""
    return nn.silu(x) / _SILU_GAIN


def mp_sum(a: jax.Array, b: jax.Array, t: float) -> jax.Array:
    """(1 − t) a + t b at unit magnitude (equation 88)."""
    return (a + t * (b - a)) / math.hypot(1 - t, t)


def mp_concatenate(a: jax.Array, b: jax.Array, t: float) -> jax.Array:
    """Both on the last axis, weighted so that they contribute as 1 − t and t whatever their widths (equation 103)."""
    whole_size = math.sqrt((a.shape[-1] + b.shape[-1]) / ((1 - t) ** 2 + t**2))
    sizes = whole_size * (1 - t) / math.sqrt(a.shape[-1]), whole_size * t / math.sqrt(b.shape[-1])
    return jnp.concatenate([sizes[0] * a, sizes[1] * b], axis=-1)


class MPConv(nn.Module):
    """A convolution, or a linear layer where `size` is None, whose kernel is normalized as it is used; no bias (equation 66)."""

    features: int
    size: int | None
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, gain: jax.Array | float = 1.0) -> jax.Array:
        place = () if self.size is None else (self.size, self.size)
        kernel = self.param("kernel", nn.initializers.normal(1.0), (*place, x.shape[-1], self.features))
        inputs = kernel.size // self.features
        kernel = (normalize(kernel, tuple(range(kernel.ndim - 1))) * (gain / math.sqrt(inputs))).astype(self.dtype)
        exact = precision(self.dtype)
        if self.size is None:
            return jnp.matmul(x.astype(self.dtype), kernel, precision=exact)
        padding, layout = ((self.size // 2,) * 2,) * 2, ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x.astype(self.dtype), kernel, (1, 1), padding, dimension_numbers=layout, precision=exact
        )


class MPFourier(nn.Module):
    """Cosines of a noise level at random frequencies and phases, of unit magnitude (equation 75)."""

    features: int

    @nn.compact
    def __call__(self, noise: jax.Array) -> jax.Array:
        frequencies = self.param("freqs", nn.initializers.normal(2 * math.pi), (self.features,))
        phases = self.param("phases", nn.initializers.uniform(2 * math.pi), (self.features,))
        return jnp.cos(noise.astype(jnp.float32)[:, None] * frequencies + phases) * math.sqrt(2)


class Block(nn.Module):
    """A residual block of the way down (normalized first) or up, with its attention (figure 21)."""

    config: EDM2UNetConfig
    features: int
    dtype: Dtype
    down: bool
    resample: str | None = None
    attention: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, embedding: jax.Array, train: bool) -> jax.Array:
        config = self.config
        conv = functools.partial(MPConv, dtype=self.dtype)
        if self.resample == "down":
            x = halve(x, config.resample_filter, 1)
        elif self.resample == "up":
            x = double(x, config.resample_filter)
        skip = conv(self.features, 1, name="conv_skip") if x.shape[-1] != self.features else (lambda x: x)
        x = normalize(skip(x), -1) if self.down else x

        h = conv(self.features, 3, name="conv_res0")(mp_silu(x))
        gain = self.param("emb_gain", nn.initializers.zeros, ())
        scale = conv(self.features, None, name="emb_linear")(embedding, gain) + 1
        h = mp_silu(h * scale[:, None, None])
        h = nn.Dropout(config.dropout, deterministic=not train)(h)
        h = conv(self.features, 3, name="conv_res1")(h)
        x = mp_sum(x if self.down else skip(x), h, config.res_balance)

        if self.attention:
            batch, height, width, channels = x.shape
            head = config.channels_per_head
            qkv = conv(3 * channels, 1, name="attn_qkv")(x).reshape(batch, height * width, channels // head, head, 3)
            q, k, v = jnp.moveaxis(normalize(qkv, 3), -1, 0)
            h = conv(channels, 1, name="attn_proj")(attend(q, k, v, self.dtype).reshape(x.shape))
            x = mp_sum(x, h, config.attn_balance)
        return x if config.clip_act is None else jnp.clip(x, -config.clip_act, config.clip_act)


class EDM2UNet(nn.Module):
    """EDM2's network.

    ``apply({"params": params}, x, t)`` maps images x [B, H, W, C] (float32, preconditioned) at noise levels t [B] (ln σ/4) to
    [B, H, W, C] in float32. ``condition`` is the labels [B] (whole numbers) of a network with classes; the number of classes
    itself is none of them.
    """

    config: EDM2UNetConfig
    dtype: Dtype = jnp.float32

    null_class = None  # its training left no label out

    @property
    def classes(self) -> int:
        """Number of labels that it takes; 0 for a network without classes."""
        return self.config.label_dim

    @property
    def inputs(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and dtypes of one image's inputs."""
        size = self.config.img_resolution
        return network_inputs((size, size), self.config.img_channels, self.config.label_dim)

    @nn.compact
    def __call__(self, x: jax.Array, t: jax.Array, train: bool = False, condition: jax.Array | None = None) -> jax.Array:
        config, dtype = self.config, self.dtype
        embedding = self._embed(t, condition)
        x = jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)
        x = MPConv(config.model_channels * config.channel_mult[0], 3, dtype, name=f"enc.{self._place(0)}_conv")(x)
        skips = [x]
        for level, features in enumerate(config.level_channels):
            place, attends = f"enc.{self._place(level)}", self._height(level) in config.attn_resolutions
            if level:
                x = Block(config, x.shape[-1], dtype, True, "down", name=f"{place}_down")(x, embedding, train)
                skips.append(x)
            for i in range(config.num_blocks):
                block = Block(config, features, dtype, True, attention=attends, name=f"{place}_block{i}")
                x = block(x, embedding, train)
                skips.append(x)
        for level, features in reversed(list(enumerate(config.level_channels))):
            place, attends = f"dec.{self._place(level)}", self._height(level) in config.attn_resolutions
            if level == len(config.level_channels) - 1:
                x = Block(config, x.shape[-1], dtype, False, attention=True, name=f"{place}_in0")(x, embedding, train)
                x = Block(config, x.shape[-1], dtype, False, name=f"{place}_in1")(x, embedding, train)
            else:
                x = Block(config, x.shape[-1], dtype, False, "up", name=f"{place}_up")(x, embedding, train)
            for i in range(config.num_blocks + 1):
                x = mp_concatenate(x, skips.pop(), config.concat_balance)
                block = Block(config, features, dtype, False, attention=attends, name=f"{place}_block{i}")
                x = block(x, embedding, train)
        gain = self.param("out_gain", nn.initializers.zeros, ())
        return MPConv(config.img_channels, 3, dtype, name="out_conv")(x, gain).astype(jnp.float32)

    def _embed(self, t: jax.Array, condition: jax.Array | None) -> jax.Array:
        config = self.config
        embedding = MPFourier(config.noise_channels, name="emb_fourier")(t)
        embedding = MPConv(config.embedding_channels, None, self.dtype, name="emb_noise")(embedding)
        if config.label_dim:
            none = jnp.full(t.shape, config.label_dim)
            labels = nn.one_hot(none if condition is None else condition, config.label_dim) * math.sqrt(config.label_dim)
            labels = MPConv(config.embedding_channels, None, self.dtype, name="emb_label")(labels)
            embedding = mp_sum(embedding, labels, config.label_balance)
        return mp_silu(embedding)

    def _height(self, level: int) -> int:
        return self.config.img_resolution >> level

    def _place(self, level: int) -> str:
        return f"{self._height(level)}x{self._height(level)}"
