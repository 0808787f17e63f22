"""DDPM++ and NCSN++ (Song et al. 2021, appendix H), by the names of EDM's ``SongUNet`` (Karras et al. 2022)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from code_jax.errors import UserError
from code_jax.models.layers import Dtype, attend, conv, dense, group_norm, network_inputs, timestep_embedding
from code_jax.models.options import (
    MAX_CHANNELS,
    MAX_CLASSES,
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
from code_jax.models.resampling import FILTERS, double, halve

_EPS = 1e-6


@dataclasses.dataclass(frozen=True)
class SongUNetConfig:
    """Architecture of a `SongUNet`; names and meanings are those of the arguments of EDM's class.

    Attributes:
        img_resolution: height and width of the training images, in pixels.
        in_channels, out_channels: channels of the image.
        label_dim: number of classes; 0 is a network without classes.
        label_dropout: share of the training images whose label was left out.
        model_channels: channels of the widest level; the others are this times `channel_mult`.
        channel_mult: factor of each level, finest first.
        channel_mult_emb, channel_mult_noise: widths of the embedding and of the noise level's, in `model_channels`.
        num_blocks: residual blocks of a level on the way down (one more on the way up).
        attn_resolutions: heights of the levels with attention.
        dropout: dropout rate; applied only in training.
        embedding_type: "positional" (DDPM++) or "fourier" (NCSN++).
        encoder_type: how the shrunk image enters: "standard" (not at all), "skip" or "residual".
        decoder_type: "standard", or "skip": every level adds to the output.
        resample_filter: (1, 1) or (1, 3, 3, 1).
        center_input: maps inputs from [0, 1] to [−1, 1] first.

    Raises:
        UserError: for a value that no network can have, before anything is allocated.
    """

    img_resolution: int
    in_channels: int
    out_channels: int
    label_dim: int = 0
    label_dropout: float = 0.0
    model_channels: int = 128
    channel_mult: tuple[int, ...] = (1, 2, 2, 2)
    channel_mult_emb: int = 4
    channel_mult_noise: int = 1
    num_blocks: int = 4
    attn_resolutions: tuple[int, ...] = (16,)
    dropout: float = 0.10
    embedding_type: str = "positional"
    encoder_type: str = "standard"
    decoder_type: str = "standard"
    resample_filter: tuple[int, ...] = (1, 1)
    center_input: bool = False

    def __post_init__(self) -> None:
        whole("img_resolution", self.img_resolution, MAX_SIZE)
        whole("in_channels", self.in_channels, 64)
        whole("out_channels", self.out_channels, 64)
        whole("label_dim", self.label_dim, MAX_CLASSES, 0)
        number("label_dropout", self.label_dropout, 0, 1)
        whole("model_channels", self.model_channels, MAX_CHANNELS)
        wholes("channel_mult", self.channel_mult, 64, MAX_LEVELS)
        whole("channel_mult_emb", self.channel_mult_emb, 16)
        whole("channel_mult_noise", self.channel_mult_noise, 16)
        whole("num_blocks", self.num_blocks, MAX_LAYERS)
        wholes("attn_resolutions", self.attn_resolutions, MAX_SIZE, MAX_LEVELS, 0)
        number("dropout", self.dropout, 0, 0.99)
        one_of("embedding_type", self.embedding_type, ("positional", "fourier"))
        one_of("encoder_type", self.encoder_type, ("standard", "skip", "residual"))
        one_of("decoder_type", self.decoder_type, ("standard", "skip"))
        one_of("resample_filter", self.resample_filter, FILTERS)
        flag("center_input", self.center_input)
        if self.img_resolution % 2 ** (len(self.channel_mult) - 1):
            raise UserError(f"img_resolution {self.img_resolution} cannot be halved {len(self.channel_mult) - 1} times")
        if self.noise_channels % 2 or self.noise_channels < 4:
            raise UserError(f"model_channels {self.model_channels} make no pairs of sine and cosine")
        for channels in self.level_channels:
            if channels > MAX_CHANNELS:
                raise UserError(f"channel_mult makes {channels} channels; at most {MAX_CHANNELS} are supported")

    @property
    def noise_channels(self) -> int:
        """Width of the noise level's embedding."""
        return self.model_channels * self.channel_mult_noise

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of each level, finest first."""
        return tuple(self.model_channels * factor for factor in self.channel_mult)

    @classmethod
    def from_options(cls, config: Mapping[str, Any]) -> SongUNetConfig:
        """Reads a mapping of EDM's arguments; raises UserError that names what is not supported."""
        return read_options(cls, config, {}, ("augment_dim",))


def _norm(x: jax.Array, name: str, dtype: Dtype) -> jax.Array:
    groups = min(32, x.shape[-1] // 4)
    if not groups or x.shape[-1] % groups:
        raise UserError(f"{x.shape[-1]} channels cannot be normalized in {groups} groups ({name})")
    return group_norm(groups, _EPS, name, dtype)(x)


class UNetBlock(nn.Module):
    """A residual block of unit variance, with its attention; ``resample`` halves or doubles the size."""

    config: SongUNetConfig
    features: int
    dtype: Dtype
    resample: str | None = None
    attention: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, embedding: jax.Array, train: bool) -> jax.Array:
        def resize(x: jax.Array) -> jax.Array:
            if self.resample == "down":
                return halve(x, self.config.resample_filter, 1)
            return double(x, self.config.resample_filter) if self.resample == "up" else x

        h = conv(self.features, 3, "conv0", self.dtype)(resize(nn.silu(_norm(x, "norm0", self.dtype))))
        h = h + dense(self.features, "affine", self.dtype)(embedding)[:, None, None]
        h = nn.silu(_norm(h, "norm1", self.dtype))
        h = nn.Dropout(self.config.dropout, deterministic=not train)(h)
        h = conv(self.features, 3, "conv1", self.dtype)(h)
        if self.resample or x.shape[-1] != self.features:
            x = conv(self.features, 1, "skip", self.dtype)(resize(x))
        x = (x + h) * math.sqrt(0.5)
        if not self.attention:
            return x
        batch, height, width, channels = x.shape
        qkv = conv(3 * channels, 1, "qkv", self.dtype)(_norm(x, "norm2", self.dtype))
        q, k, v = jnp.moveaxis(qkv.reshape(batch, height * width, 1, channels, 3), -1, 0)
        h = conv(channels, 1, "proj", self.dtype)(attend(q, k, v, self.dtype).reshape(x.shape))
        return (x + h) * math.sqrt(0.5)


class FourierFeatures(nn.Module):
    """Sines and cosines of a noise level at random frequencies."""

    features: int

    @nn.compact
    def __call__(self, noise: jax.Array) -> jax.Array:
        frequencies = self.param("freqs", nn.initializers.normal(16.0), (self.features // 2,))
        angles = noise.astype(jnp.float32)[:, None] * (2 * math.pi * frequencies)
        return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


class SongUNet(nn.Module):
    """DDPM++ or NCSN++, with unit-variance residual sums.

    ``apply({"params": params}, x, t)`` maps images x [B, H, W, C] (float32) at noise levels t [B] (a timestep for positional
    embeddings, log σ for Fourier features) to [B, H, W, C] in float32. ``condition`` is the labels [B] (whole numbers) of a
    network with classes; the number of classes itself is none of them.
    """

    config: SongUNetConfig
    dtype: Dtype = jnp.float32

    @property
    def classes(self) -> int:
        """Number of labels that it takes; 0 for a network without classes."""
        return self.config.label_dim

    @property
    def null_class(self) -> int | None:
        """The label that stands for no class, where its training left some out."""
        return self.config.label_dim if self.config.label_dim and self.config.label_dropout else None

    @property
    def inputs(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and dtypes of one image's inputs."""
        size = self.config.img_resolution
        return network_inputs((size, size), self.config.in_channels, self.config.label_dim)

    @nn.compact
    def __call__(self, x: jax.Array, t: jax.Array, train: bool = False, condition: jax.Array | None = None) -> jax.Array:
        embedding = self._embed(t, condition)
        x = 2 * x - 1 if self.config.center_input else x
        x, skips = self._encode(x, embedding, train)
        return self._decode(x, skips, embedding, train).astype(jnp.float32)

    def _embed(self, t: jax.Array, condition: jax.Array | None) -> jax.Array:
        config, width = self.config, self.config.noise_channels
        if config.embedding_type == "fourier":
            embedding = FourierFeatures(width, name="map_noise")(t)
        else:
            embedding = timestep_embedding(t, width, flip_sin_to_cos=False, freq_shift=1)
        if config.label_dim:
            none = jnp.full(t.shape, config.label_dim)
            labels = nn.one_hot(none if condition is None else condition, config.label_dim) * math.sqrt(config.label_dim)
            embedding = embedding + dense(width, "map_label", self.dtype)(labels)
        for name in ("map_layer0", "map_layer1"):
            embedding = nn.silu(dense(config.model_channels * config.channel_mult_emb, name, self.dtype)(embedding))
        return embedding

    def _encode(self, x: jax.Array, embedding: jax.Array, train: bool) -> tuple[jax.Array, list[jax.Array]]:
        config, dtype, shrunk = self.config, self.dtype, x
        x = conv(config.model_channels, 3, f"enc.{self._place(0)}_conv", dtype)(x)
        skips = [x]
        for level, features in enumerate(config.level_channels):
            place = f"enc.{self._place(level)}"
            if level:
                x = UNetBlock(config, x.shape[-1], dtype, "down", name=f"{place}_down")(x, embedding, train)
                if config.encoder_type == "skip":
                    shrunk = halve(shrunk, config.resample_filter, 1)
                    x = x + conv(x.shape[-1], 1, f"{place}_aux_skip", dtype)(shrunk)
                elif config.encoder_type == "residual":
                    # The filter sees what the convolution makes of the zeros around the image, not zeros around its result.
                    margin = 1 if config.resample_filter == (1, 1) else 2
                    h = conv(x.shape[-1], 3, f"{place}_aux_residual", dtype, padding=((margin, margin),) * 2)(shrunk)
                    x = shrunk = (x + halve(h, config.resample_filter, 0)) * math.sqrt(0.5)
                skips.append(x)
            for i in range(config.num_blocks):
                attention = self._height(level) in config.attn_resolutions
                block = UNetBlock(config, features, dtype, attention=attention, name=f"{place}_block{i}")
                x = block(x, embedding, train)
                skips.append(x)
        return x, skips

    def _decode(self, x: jax.Array, skips: list[jax.Array], embedding: jax.Array, train: bool) -> jax.Array:
        config, dtype = self.config, self.dtype
        output: Any = None
        for level, features in reversed(list(enumerate(config.level_channels))):
            place = f"dec.{self._place(level)}"
            if level == len(config.level_channels) - 1:
                x = UNetBlock(config, x.shape[-1], dtype, attention=True, name=f"{place}_in0")(x, embedding, train)
                x = UNetBlock(config, x.shape[-1], dtype, name=f"{place}_in1")(x, embedding, train)
            else:
                x = UNetBlock(config, x.shape[-1], dtype, "up", name=f"{place}_up")(x, embedding, train)
            for i in range(config.num_blocks + 1):
                attention = i == config.num_blocks and self._height(level) in config.attn_resolutions
                x = jnp.concatenate([x, skips.pop()], axis=-1)
                x = UNetBlock(config, features, dtype, attention=attention, name=f"{place}_block{i}")(x, embedding, train)
            if config.decoder_type == "skip" or not level:
                h = nn.silu(_norm(x, f"{place}_aux_norm", dtype))
                h = conv(config.out_channels, 3, f"{place}_aux_conv", dtype)(h)
                output = h if output is None else h + double(output, config.resample_filter)
        return output

    def _height(self, level: int) -> int:
        return self.config.img_resolution >> level

    def _place(self, level: int) -> str:
        return f"{self._height(level)}x{self._height(level)}"
