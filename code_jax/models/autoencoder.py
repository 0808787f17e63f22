"""Codecs between pictures and latents: diffusers' ``AutoencoderKL`` and ``VQModel`` (Rombach et al. 2022, section 3.1)."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from code_jax.models.codec_config import AutoencoderKLConfig, CodecConfig, VQModelConfig
from code_jax.models.layers import Attention, Downsample2D, Dtype, ResnetBlock2D, Upsample2D, conv, group_norm

_EPS = 1e-6


def _resnet(config: CodecConfig, features: int, name: str, dtype: Dtype) -> ResnetBlock2D:
    return ResnetBlock2D(features, config.norm_num_groups, _EPS, "default", "silu", dtype, name=name)


class _Level(nn.Module):
    """The residual blocks of a level, and the change of size behind them."""

    config: CodecConfig
    features: int
    count: int
    dtype: Dtype
    resample: str | None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i in range(self.count):
            x = _resnet(self.config, self.features, f"resnets.{i}", self.dtype)(x, None)
        if self.resample == "down":
            return Downsample2D(0, self.dtype, name="downsamplers.0")(x)
        return Upsample2D(self.dtype, name="upsamplers.0")(x) if self.resample == "up" else x


class _Middle(nn.Module):
    """The coarsest level's two residual blocks, with a one-headed attention between."""

    config: CodecConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        features = x.shape[-1]
        x = _resnet(self.config, features, "resnets.0", self.dtype)(x, None)
        if self.config.mid_block_add_attention:
            x = Attention(features, self.config.norm_num_groups, _EPS, self.dtype, name="attentions.0")(x)
        return _resnet(self.config, features, "resnets.1", self.dtype)(x, None)


class _Encoder(nn.Module):
    config: CodecConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        config, dtype, levels = self.config, self.dtype, len(self.config.block_out_channels)
        x = conv(config.block_out_channels[0], 3, "conv_in", dtype)(x)
        for level, features in enumerate(config.block_out_channels):
            resample = "down" if level < levels - 1 else None
            x = _Level(config, features, config.layers_per_block, dtype, resample, name=f"down_blocks.{level}")(x)
        x = _Middle(config, dtype, name="mid_block")(x)
        x = nn.silu(group_norm(config.norm_num_groups, _EPS, "conv_norm_out", dtype)(x))
        return conv(config.latent_channels * (2 if config.doubled else 1), 3, "conv_out", dtype)(x)


class _Decoder(nn.Module):
    config: CodecConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        config, dtype, levels = self.config, self.dtype, len(self.config.block_out_channels)
        x = conv(config.block_out_channels[-1], 3, "conv_in", dtype)(z)
        x = _Middle(config, dtype, name="mid_block")(x)
        for level, features in enumerate(reversed(config.block_out_channels)):
            resample = "up" if level < levels - 1 else None
            x = _Level(config, features, config.layers_per_block + 1, dtype, resample, name=f"up_blocks.{level}")(x)
        x = nn.silu(group_norm(config.norm_num_groups, _EPS, "conv_norm_out", dtype)(x))
        return conv(config.out_channels, 3, "conv_out", dtype)(x).astype(jnp.float32)


class AutoencoderKL(nn.Module):
    """The codec of Stable Diffusion.

    ``apply(variables, x, method="encode")`` maps pictures [B, H, W, C] in [−1, 1] to latents [B, h, w, c] of a variance near 1
    (the mean of their distribution), ``method="decode"`` maps them back; float32. H and W are multiples of 2^(levels − 1).
    """

    config: AutoencoderKLConfig
    dtype: Dtype = jnp.float32

    def setup(self) -> None:
        config = self.config
        self.encoder, self.decoder = _Encoder(config, self.dtype), _Decoder(config, self.dtype)
        if config.use_quant_conv:
            self.quant_conv = conv(2 * config.latent_channels, 1, None, self.dtype)
        if config.use_post_quant_conv:
            self.post_quant_conv = conv(config.latent_channels, 1, None, self.dtype)

    @property
    def inputs(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and dtype of one picture."""
        size = self.config.sample_size
        return {"x": jax.ShapeDtypeStruct((1, size, size, self.config.in_channels), jnp.float32)}

    def encode(self, x: jax.Array) -> jax.Array:
        """Latents of pictures."""
        h = self.encoder(x)
        mean, _ = jnp.split(self.quant_conv(h) if self.config.use_quant_conv else h, 2, axis=-1)
        shift, scale = self._scale()
        return (mean.astype(jnp.float32) - shift) * scale

    def decode(self, z: jax.Array) -> jax.Array:
        """Pictures of latents."""
        shift, scale = self._scale()
        z = z / scale + shift
        return self.decoder(self.post_quant_conv(z) if self.config.use_post_quant_conv else z)

    def _scale(self) -> tuple[jax.Array, jax.Array]:
        """What is taken from each channel of the latents, and what they are multiplied by."""
        config = self.config
        shift = jnp.asarray(config.latents_mean or 0.0) + (config.shift_factor or 0)
        return shift, config.scaling_factor / jnp.asarray(config.latents_std or 1.0)

    def __call__(self, x: jax.Array) -> jax.Array:
        """There and back."""
        return self.decode(self.encode(x))


class _Codebook(nn.Module):
    """The nearest of a table's vectors."""

    config: VQModelConfig

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        kernel = _Table(self.config.num_vq_embeddings, z.shape[-1], name="embedding")()
        products = jnp.einsum("bhwc,cn->bhwn", z, kernel, precision=jax.lax.Precision.HIGHEST)
        nearest = jnp.argmin(jnp.sum(kernel**2, axis=0) - 2 * products, axis=-1)
        return jnp.moveaxis(jnp.take(kernel, nearest, axis=1), 0, -1)


class _Table(nn.Module):
    count: int
    features: int

    @nn.compact
    def __call__(self) -> jax.Array:
        """[features, count], as a linear layer's kernel lies."""
        return self.param("kernel", nn.initializers.normal(1.0), (self.features, self.count))


class VQModel(nn.Module):
    """The codec of ldm-celebahq-256: like `AutoencoderKL`, but latents are replaced by the nearest of a codebook's vectors.

    ``method="decode"`` replaces them, as the published pipeline does, unless `VQModelConfig.quantize` or its argument is false.
    """

    config: VQModelConfig
    dtype: Dtype = jnp.float32

    def setup(self) -> None:
        config = self.config
        self.encoder, self.decoder = _Encoder(config, self.dtype), _Decoder(config, self.dtype)
        self.quant_conv = conv(config.vq_embed_dim or config.latent_channels, 1, None, self.dtype)
        self.quantize = _Codebook(config)
        self.post_quant_conv = conv(config.latent_channels, 1, None, self.dtype)

    @property
    def inputs(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and dtype of one picture."""
        size = self.config.sample_size
        return {"x": jax.ShapeDtypeStruct((1, size, size, self.config.in_channels), jnp.float32)}

    def encode(self, x: jax.Array) -> jax.Array:
        """Latents of pictures, not yet replaced."""
        return self.quant_conv(self.encoder(x)).astype(jnp.float32) * self.config.scaling_factor

    def decode(self, z: jax.Array, quantize: bool | None = None) -> jax.Array:
        """Pictures of latents."""
        z = z / self.config.scaling_factor
        replaced = self.config.quantize if quantize is None else quantize
        return self.decoder(self.post_quant_conv(self.quantize(z) if replaced or self.is_initializing() else z))

    def __call__(self, x: jax.Array) -> jax.Array:
        """There and back."""
        return self.decode(self.encode(x))
