"""The layers of a `UNet2DModel`: time embedding, residual block, attention, resampling.

Activations are NHWC. Submodules carry diffusers' names (dots included), so that a parameter's path joined with "." is the
PyTorch key but for the leaf: ``kernel``/``scale`` here is ``weight`` there. Convolutions and products run in ``dtype``;
GroupNorm statistics, the softmax and the parameters stay float32.
"""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Dtype = Any

activations = {"silu": nn.silu, "swish": nn.silu, "mish": jax.nn.mish, "gelu": lambda x: nn.gelu(x, approximate=False),
               "relu": nn.relu}  # fmt: skip


def precision(dtype: Dtype) -> jax.lax.Precision:
    """float32 means float32: without HIGHEST, a TPU multiplies in bfloat16 and a GPU in TF32."""
    return jax.lax.Precision.HIGHEST if dtype == jnp.float32 else jax.lax.Precision.DEFAULT


def conv(features: int, size: int, name: str, dtype: Dtype, stride: int = 1, padding: Any = None) -> nn.Conv:
    """A size×size convolution with PyTorch's symmetric padding unless told otherwise."""
    padding = ((size // 2, size // 2),) * 2 if padding is None else padding
    return nn.Conv(features, (size, size), stride, padding, name=name, dtype=dtype, precision=precision(dtype))


def dense(features: int, name: str, dtype: Dtype) -> nn.Dense:
    """A linear layer over the last axis."""
    return nn.Dense(features, name=name, dtype=dtype, precision=precision(dtype))


def group_norm(groups: int, eps: float, name: str, dtype: Dtype) -> nn.GroupNorm:
    """Normalizes over pixels and groups of channels, with statistics in float32."""
    return nn.GroupNorm(groups, epsilon=eps, name=name, dtype=dtype)


def timestep_embedding(t: jax.Array, dim: int, flip_sin_to_cos: bool, freq_shift: float) -> jax.Array:
    """Sinusoidal embedding [B, dim] of float timesteps [B] (Ho et al. 2020; Vaswani et al. 2017, section 3.5)."""
    half = dim // 2
    frequencies = jnp.exp(-math.log(10_000.0) * jnp.arange(half, dtype=jnp.float32) / (half - freq_shift))
    angles = t.astype(jnp.float32)[:, None] * frequencies
    parts = (jnp.cos(angles), jnp.sin(angles)) if flip_sin_to_cos else (jnp.sin(angles), jnp.cos(angles))
    return jnp.pad(jnp.concatenate(parts, axis=-1), ((0, 0), (0, dim % 2)))


class TimestepEmbedding(nn.Module):
    """Two linear layers that widen the sinusoidal embedding."""

    features: int
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.silu(dense(self.features, "linear_1", self.dtype)(x))
        return dense(self.features, "linear_2", self.dtype)(x)


def upsample(x: jax.Array) -> jax.Array:
    """Nearest-neighbour ×2."""
    return x.repeat(2, axis=1).repeat(2, axis=2)


def downsample(x: jax.Array) -> jax.Array:
    """Mean of 2×2 pixels."""
    return nn.avg_pool(x, (2, 2), (2, 2))


class Downsample2D(nn.Module):
    """A strided 3×3 convolution."""

    padding: int
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        padding = ((self.padding, 1),) * 2
        return conv(x.shape[-1], 3, "conv", self.dtype, stride=2, padding=padding)(x)


class Upsample2D(nn.Module):
    """Nearest-neighbour ×2, then a 3×3 convolution."""

    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return conv(x.shape[-1], 3, "conv", self.dtype)(upsample(x))


class ResnetBlock2D(nn.Module):
    """Norm, activation, convolution, twice; the time embedding enters between; ``resample`` halves or doubles the size."""

    features: int
    groups: int
    eps: float
    time_scale_shift: str
    act_fn: str
    dtype: Dtype
    dropout: float = 0.0
    output_scale_factor: float = 1.0
    resample: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, embedding: jax.Array, train: bool = False) -> jax.Array:
        act = activations[self.act_fn]
        h = act(group_norm(self.groups, self.eps, "norm1", self.dtype)(x))
        if self.resample:
            resize = upsample if self.resample == "up" else downsample
            x, h = resize(x), resize(h)
        h = conv(self.features, 3, "conv1", self.dtype)(h)

        modulate = self.time_scale_shift == "scale_shift"
        time = dense(self.features * (2 if modulate else 1), "time_emb_proj", self.dtype)(act(embedding))[:, None, None]
        norm2 = group_norm(self.groups, self.eps, "norm2", self.dtype)
        if modulate:
            scale, shift = jnp.split(time, 2, axis=-1)
            h = norm2(h) * (1 + scale) + shift
        else:
            h = norm2(h + time)
        h = nn.Dropout(self.dropout, deterministic=not train)(act(h))
        h = conv(self.features, 3, "conv2", self.dtype)(h)

        if x.shape[-1] != self.features:
            x = conv(self.features, 1, "conv_shortcut", self.dtype)(x)
        return (x + h) / self.output_scale_factor


class Attention(nn.Module):
    """Self-attention over the pixels, with a residual connection."""

    head_dim: int
    groups: int | None
    eps: float
    dtype: Dtype
    rescale_output_factor: float = 1.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, height, width, channels = x.shape
        heads = channels // self.head_dim
        h = x if self.groups is None else group_norm(self.groups, self.eps, "group_norm", self.dtype)(x)
        h = h.reshape(batch, height * width, channels)
        q, k, v = (
            dense(heads * self.head_dim, name, self.dtype)(h).reshape(batch, -1, heads, self.head_dim)
            for name in ("to_q", "to_k", "to_v")
        )
        exact = precision(self.dtype)
        logits = jnp.einsum("bqhd,bkhd->bhqk", q, k, precision=exact, preferred_element_type=jnp.float32)
        weights = nn.softmax(logits / math.sqrt(self.head_dim)).astype(self.dtype)
        h = jnp.einsum("bhqk,bkhd->bqhd", weights, v, precision=exact).reshape(batch, height * width, -1)
        h = dense(channels, "to_out.0", self.dtype)(h).reshape(x.shape)
        return (x + h) / self.rescale_output_factor
