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


# Flax asks an initializer for its shape at every application; jitted, it is traced once for each shape.
initialize = jax.jit(nn.initializers.lecun_normal(), static_argnums=(1, 2))


def precision(dtype: Dtype) -> jax.lax.Precision:
    """float32 means float32: without HIGHEST, a TPU multiplies in bfloat16 and a GPU in TF32."""
    return jax.lax.Precision.HIGHEST if dtype == jnp.float32 else jax.lax.Precision.DEFAULT


def network_inputs(size: tuple[int, int], channels: int, classes: int | None) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of a network's inputs for one image: the image, its noise level and, where there are classes, a label."""
    inputs = {"x": jax.ShapeDtypeStruct((1, *size, channels), jnp.float32), "t": jax.ShapeDtypeStruct((1,), jnp.float32)}
    return inputs | ({"condition": jax.ShapeDtypeStruct((1,), jnp.int32)} if classes else {})


def conv(features: int, size: int, name: str | None, dtype: Dtype, stride: int = 1, padding: Any = None) -> nn.Conv:
    """A size×size convolution with PyTorch's symmetric padding unless told otherwise."""
    padding = ((size // 2, size // 2),) * 2 if padding is None else padding
    options = {"name": name, "dtype": dtype, "precision": precision(dtype), "kernel_init": initialize}
    return nn.Conv(features, (size, size), stride, padding, **options)


def dense(features: int, name: str, dtype: Dtype) -> nn.Dense:
    """A linear layer over the last axis."""
    return nn.Dense(features, name=name, dtype=dtype, precision=precision(dtype), kernel_init=initialize)


class GroupNorm(nn.Module):
    """Normalizes over pixels and groups of channels (Wu & He 2018), in float32 whatever the dtype, however far the mean.

    Sums are taken over pixels first and over a group's channels last, and the normalization is one multiplication and addition a
    channel: both run along the channels, which lie together in memory, and fuse with what comes before and after.
    """

    groups: int
    eps: float
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        exact = x.astype(jnp.float32)

        def mean(values: jax.Array) -> jax.Array:
            groups = values.mean(tuple(range(1, x.ndim - 1))).reshape(-1, self.groups, channels // self.groups).mean(-1)
            return groups.repeat(channels // self.groups, -1).reshape(-1, *(1,) * (x.ndim - 2), channels)

        # E[x²] − E[x]² loses the digits of a mean that is large, so one near it is taken off before: that of the middle row.
        middle = x.shape[1] // 2
        exact -= mean(exact[:, middle : middle + 1])
        centre, square = mean(exact), mean(exact * exact)
        factor = scale * jax.lax.rsqrt(jnp.maximum(square - centre * centre, 0) + self.eps)
        return (exact * factor + (bias - centre * factor)).astype(self.dtype)


def group_norm(groups: int, eps: float, name: str, dtype: Dtype) -> GroupNorm:
    """A `GroupNorm` with the name of PyTorch's."""
    return GroupNorm(groups, eps, dtype, name=name)


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


class UpsampledConv(nn.Module):
    """Nearest-neighbour ×2, then a 3×3 convolution, with 4/9 of its multiplications.

    The 3×3 pixels that an output sees are copies of 2×2: taps that meet copies of one pixel are added, which leaves a 2×2
    convolution of the small image for each of the outputs' four places among the copies.
    """

    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, height, width, channels = x.shape
        kernel = self.param("kernel", initialize, (3, 3, channels, channels))
        bias = self.param("bias", nn.initializers.zeros, (channels,))

        def add_taps(kernel: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
            first, middle, last = jnp.split(kernel, 3, axis)
            return jnp.concatenate([first, middle + last], axis), jnp.concatenate([first + middle, last], axis)

        def convolve(kernel: jax.Array, down: int, right: int) -> jax.Array:
            padding, layout = ((1 - down, down), (1 - right, right)), ("NHWC", "HWIO", "NHWC")
            operands = x.astype(self.dtype), kernel.astype(self.dtype)
            return jax.lax.conv_general_dilated(
                *operands, (1, 1), padding, dimension_numbers=layout, precision=precision(self.dtype)
            )

        rows = enumerate(add_taps(kernel, 0))
        outputs = [convolve(each, down, right) for down, row in rows for right, each in enumerate(add_taps(row, 1))]
        h = jnp.stack(outputs, 3).reshape(batch, height, width, 2, 2, channels)
        h = h.transpose(0, 1, 3, 2, 4, 5).reshape(batch, 2 * height, 2 * width, channels)
        return h + bias.astype(self.dtype)


class Upsample2D(nn.Module):
    """Nearest-neighbour ×2, then a 3×3 convolution."""

    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return UpsampledConv(self.dtype, name="conv")(x)


class ResnetBlock2D(nn.Module):
    """Norm, activation, convolution, twice; a time embedding may enter between; ``resample`` halves or doubles the size."""

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
    def __call__(self, x: jax.Array, embedding: jax.Array | None, train: bool = False) -> jax.Array:
        act = activations[self.act_fn]
        h = act(group_norm(self.groups, self.eps, "norm1", self.dtype)(x))
        if self.resample:
            resize = upsample if self.resample == "up" else downsample
            x, h = resize(x), resize(h)
        h = conv(self.features, 3, "conv1", self.dtype)(h)

        norm2 = group_norm(self.groups, self.eps, "norm2", self.dtype)
        if embedding is None:
            h = norm2(h)
        elif self.time_scale_shift == "scale_shift":
            time = dense(2 * self.features, "time_emb_proj", self.dtype)(act(embedding))[:, None, None]
            scale, shift = jnp.split(time, 2, axis=-1)
            h = norm2(h) * (1 + scale) + shift
        else:
            h = norm2(h + dense(self.features, "time_emb_proj", self.dtype)(act(embedding))[:, None, None])
        h = nn.Dropout(self.dropout, deterministic=not train)(act(h))
        h = conv(self.features, 3, "conv2", self.dtype)(h)

        if x.shape[-1] != self.features:
            x = conv(self.features, 1, "conv_shortcut", self.dtype)(x)
        return (x + h) / self.output_scale_factor


def attend(q: jax.Array, k: jax.Array, v: jax.Array, dtype: Dtype, mask: jax.Array | None = None) -> jax.Array:
    """softmax(q kᵀ/√d) v head by head, all [B, N, heads, d]; keys where `mask` [N, N] is false are not seen."""
    exact = precision(dtype)
    logits = jnp.einsum("bqhd,bkhd->bhqk", q, k, precision=exact, preferred_element_type=jnp.float32)
    logits = logits / math.sqrt(q.shape[-1])
    weights = nn.softmax(logits if mask is None else jnp.where(mask, logits, -jnp.inf)).astype(dtype)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, v, precision=exact)


class Embedding(nn.Module):
    """Rows of a table by number: [...] to [..., features].

    The table is kept as the kernel of the linear layer that one-hot vectors would be given, transposed.
    """

    count: int
    features: int
    dtype: Dtype

    @nn.compact
    def __call__(self, numbers: jax.Array) -> jax.Array:
        kernel = self.param("kernel", nn.initializers.normal(0.02), (self.features, self.count))
        return jnp.moveaxis(jnp.take(kernel, numbers, axis=1), 0, -1).astype(self.dtype)


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
        h = attend(q, k, v, self.dtype).reshape(batch, height * width, -1)
        h = dense(channels, "to_out.0", self.dtype)(h).reshape(x.shape)
        return (x + h) / self.rescale_output_factor
