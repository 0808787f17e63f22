"""DiT, the diffusion transformer (Peebles & Xie 2023, section 3), by the names of the reference's parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from code_jax.errors import UserError
from code_jax.models.layers import Dtype, Embedding, attend, conv, dense, network_inputs, timestep_embedding
from code_jax.models.options import MAX_CHANNELS, MAX_CLASSES, MAX_SIZE, number, one_of, read_options, whole

_FREQUENCIES = 256  # sines and cosines of a timestep


@dataclasses.dataclass(frozen=True)
class DiTConfig:
    """Architecture of a `DiT`; names, defaults and meanings are those of the reference's class.

    Attributes:
        input_size: height and width of the latents.
        patch_size: height and width of a token, in latents' pixels.
        in_channels: channels of the latents.
        hidden_size: channels of a token.
        depth: number of blocks.
        num_heads: heads of an attention.
        mlp_ratio: channels inside a block's perceptron, in `hidden_size`.
        num_classes: number of classes; one label more, equal to it, is no class.
        learn_sigma: whether the output has a variance behind ε.

    Raises:
        UserError: for a value that no network can have, before anything is allocated.
    """

    input_size: int = 32
    patch_size: int = 2
    in_channels: int = 4
    hidden_size: int = 1152
    depth: int = 28
    num_heads: int = 16
    mlp_ratio: float = 4.0
    num_classes: int = 1000
    learn_sigma: bool = True

    def __post_init__(self) -> None:
        whole("input_size", self.input_size, MAX_SIZE)
        whole("patch_size", self.patch_size, 64)
        whole("in_channels", self.in_channels, 64)
        whole("hidden_size", self.hidden_size, MAX_CHANNELS)
        whole("depth", self.depth, 128)
        whole("num_heads", self.num_heads, 256)
        number("mlp_ratio", self.mlp_ratio, 0.25, 16)
        whole("num_classes", self.num_classes, MAX_CLASSES)
        one_of("learn_sigma", self.learn_sigma, (True, False))
        if self.input_size % self.patch_size:
            raise UserError(f"patch_size {self.patch_size} does not divide input_size {self.input_size}")
        if self.hidden_size % self.num_heads:
            raise UserError(f"num_heads {self.num_heads} does not divide hidden_size {self.hidden_size}")

    @property
    def tokens(self) -> int:
        """Number of tokens of an image."""
        return (self.input_size // self.patch_size) ** 2

    @classmethod
    def from_options(cls, config: Mapping[str, Any]) -> DiTConfig:
        """Reads a mapping of the reference's arguments; raises UserError that names what is not supported."""
        return read_options(cls, config, {}, ("class_dropout_prob",))


def _modulated(x: jax.Array, shift: jax.Array, scale: jax.Array, dtype: Dtype) -> jax.Array:
    """LayerNorm without parameters of its own (float32 statistics), then a shift and a scale of each image."""
    exact = x.astype(jnp.float32)
    centred = exact - exact.mean(-1, keepdims=True)
    x = (centred * jax.lax.rsqrt(jnp.mean(centred**2, -1, keepdims=True) + 1e-6)).astype(dtype)
    return x * (1 + scale[:, None]) + shift[:, None]


class DiTBlock(nn.Module):
    """Attention and perceptron, each shifted, scaled and gated by the embedding (adaLN-Zero)."""

    config: DiTConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, embedding: jax.Array) -> jax.Array:
        config, dtype, width = self.config, self.dtype, self.config.hidden_size
        modulation = dense(6 * width, "adaLN_modulation.1", dtype)(nn.silu(embedding))
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = jnp.split(modulation, 6, axis=-1)
        x = x + gate[:, None] * SelfAttention(config.num_heads, dtype, name="attn")(_modulated(x, shift, scale, dtype))
        h = Perceptron(int(width * config.mlp_ratio), dtype, name="mlp")(_modulated(x, shift_mlp, scale_mlp, dtype))
        return x + gate_mlp[:, None] * h


class SelfAttention(nn.Module):
    """Attention over tokens [B, N, C]."""

    heads: int
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, tokens, channels = x.shape
        qkv = dense(3 * channels, "qkv", self.dtype)(x).reshape(batch, tokens, 3, self.heads, channels // self.heads)
        q, k, v = jnp.moveaxis(qkv, 2, 0)
        h = attend(q, k, v, self.dtype).reshape(x.shape)
        return dense(channels, "proj", self.dtype)(h)


class Perceptron(nn.Module):
    """Two linear layers with a GELU between."""

    features: int
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        h = nn.gelu(dense(self.features, "fc1", self.dtype)(x), approximate=True)
        return dense(x.shape[-1], "fc2", self.dtype)(h)


class _Embedder(nn.Module):
    """The timestep's embedding."""

    features: int
    dtype: Dtype

    @nn.compact
    def __call__(self, t: jax.Array) -> jax.Array:
        h = nn.silu(dense(self.features, "mlp.0", self.dtype)(timestep_embedding(t, _FREQUENCIES, True, 0)))
        return dense(self.features, "mlp.2", self.dtype)(h)


class _Tokens(nn.Module):
    """Cuts an image into tokens."""

    config: DiTConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        size = self.config.patch_size
        x = conv(self.config.hidden_size, size, "proj", self.dtype, stride=size, padding="VALID")(x)
        return x.reshape(x.shape[0], -1, x.shape[-1])


class _Labels(nn.Module):
    """The label's embedding."""

    config: DiTConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, labels: jax.Array) -> jax.Array:
        return Embedding(self.config.num_classes + 1, self.config.hidden_size, self.dtype, name="embedding_table")(labels)


class _FinalLayer(nn.Module):
    """Tokens to the pixels that they stand for."""

    features: int
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, embedding: jax.Array) -> jax.Array:
        modulation = dense(2 * x.shape[-1], "adaLN_modulation.1", self.dtype)(nn.silu(embedding))
        shift, scale = jnp.split(modulation, 2, axis=-1)
        return dense(self.features, "linear", self.dtype)(_modulated(x, shift, scale, self.dtype))


class DiT(nn.Module):
    """The diffusion transformer.

    ``apply({"params": params}, x, t)`` maps latents x [B, H, W, C] (float32, VP scale) at float timesteps t [B] to ε, behind
    which lies a learned variance: [B, H, W, 2C] in float32. ``condition`` is the labels [B] (whole numbers); without it, or where
    it is the number of classes, there is none.
    """

    config: DiTConfig
    dtype: Dtype = jnp.float32

    @property
    def classes(self) -> int:
        """Number of labels that it takes."""
        return self.config.num_classes

    @property
    def null_class(self) -> int:
        """The label that stands for no class."""
        return self.config.num_classes

    @property
    def inputs(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and dtypes of one image's inputs."""
        size = self.config.input_size
        return network_inputs((size, size), self.config.in_channels, self.config.num_classes)

    @nn.compact
    def __call__(self, x: jax.Array, t: jax.Array, train: bool = False, condition: jax.Array | None = None) -> jax.Array:
        config, dtype = self.config, self.dtype
        side, size = config.input_size // config.patch_size, config.patch_size
        channels = config.in_channels * (2 if config.learn_sigma else 1)
        place = self.param("pos_embed", nn.initializers.normal(0.02), (1, config.tokens, config.hidden_size))
        labels = jnp.full(t.shape, config.num_classes) if condition is None else condition
        embedding = _Embedder(config.hidden_size, dtype, name="t_embedder")(t) + _Labels(config, dtype, name="y_embedder")(labels)
        h = _Tokens(config, dtype, name="x_embedder")(x) + place.astype(dtype)
        for i in range(config.depth):
            h = DiTBlock(config, dtype, name=f"blocks.{i}")(h, embedding)
        h = _FinalLayer(size * size * channels, dtype, name="final_layer")(h, embedding)
        h = h.reshape(-1, side, side, size, size, channels).transpose(0, 1, 3, 2, 4, 5)
        return h.reshape(-1, side * size, side * size, channels).astype(jnp.float32)
