"""Codecs between pictures and latents: diffusers' ``AutoencoderKL`` and ``VQModel`` (Rombach et al. 2022, section 3.1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from code_jax.errors import UserError
from code_jax.models.layers import Attention, Downsample2D, Dtype, ResnetBlock2D, Upsample2D, conv, group_norm
from code_jax.models.options import MAX_CHANNELS, MAX_LAYERS, MAX_LEVELS, MAX_SIZE, flag, number, read_options, whole, wholes

_EPS = 1e-6
Codec = TypeVar("Codec", bound="CodecConfig")


@dataclasses.dataclass(frozen=True)
class CodecConfig:
    """What both codecs have; names, defaults and meanings are those of diffusers' classes.

    Attributes:
        in_channels, out_channels: channels of a picture.
        block_out_channels: channels of each level, finest first; each level but the last halves the size.
        layers_per_block: residual blocks of a level on the way down (one more on the way up).
        latent_channels: channels of the latents.
        norm_num_groups: groups of every GroupNorm.
        sample_size: height and width of the training pictures, in pixels.
        scaling_factor: what the latents are multiplied by to have a variance near 1.
        mid_block_add_attention: attention at the coarsest level.

    Raises:
        UserError: for a value that no codec can have, before anything is allocated.
    """

    in_channels: int = 3
    out_channels: int = 3
    block_out_channels: tuple[int, ...] = (64,)
    layers_per_block: int = 1
    latent_channels: int = 4
    norm_num_groups: int = 32
    sample_size: int = 32
    scaling_factor: float = 0.18215
    mid_block_add_attention: bool = True

    only: ClassVar[dict[str, tuple[Any, str]]] = {"act_fn": ("silu", "it is that of the published codecs")}
    doubled: ClassVar[bool] = False  # whether the encoder tells a mean and a log variance

    def __post_init__(self) -> None:
        whole("in_channels", self.in_channels, 64)
        whole("out_channels", self.out_channels, 64)
        wholes("block_out_channels", self.block_out_channels, MAX_CHANNELS, MAX_LEVELS)
        whole("layers_per_block", self.layers_per_block, MAX_LAYERS)
        whole("latent_channels", self.latent_channels, 1024)
        whole("norm_num_groups", self.norm_num_groups, MAX_CHANNELS)
        whole("sample_size", self.sample_size, MAX_SIZE)
        number("scaling_factor", self.scaling_factor, 1e-6, 1e6)
        flag("mid_block_add_attention", self.mid_block_add_attention)
        for channels in self.block_out_channels:
            if channels % self.norm_num_groups:
                raise UserError(f"block_out_channels {channels} is not a multiple of norm_num_groups {self.norm_num_groups}")

    @classmethod
    def from_diffusers(cls: type[Codec], config: Mapping[str, Any]) -> Codec:
        """Reads the mapping of a diffusers ``config.json``; raises UserError that names what is not supported."""
        channels = config.get("block_out_channels", cls.block_out_channels)
        wholes("block_out_channels", tuple(channels) if isinstance(channels, list) else channels, MAX_CHANNELS, MAX_LEVELS)
        kinds = {"down_block_types": "DownEncoderBlock2D", "up_block_types": "UpDecoderBlock2D"}
        levels = {name: ((kind,) * len(channels), "levels have no attention of their own") for name, kind in kinds.items()}
        return read_options(cls, config, cls.only | levels, ("force_upcast",))


@dataclasses.dataclass(frozen=True)
class AutoencoderKLConfig(CodecConfig):
    """Architecture of an `AutoencoderKL`.

    Attributes:
        use_quant_conv, use_post_quant_conv: 1×1 convolutions behind the encoder and before the decoder.
        shift_factor: what is taken from the latents before they are multiplied; None is nothing.
    """

    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    shift_factor: float | None = None

    only: ClassVar[dict[str, tuple[Any, str]]] = CodecConfig.only | dict.fromkeys(
        ("latents_mean", "latents_std"), (None, "the latents have one scale")
    )
    doubled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        flag("use_quant_conv", self.use_quant_conv)
        flag("use_post_quant_conv", self.use_post_quant_conv)
        if self.shift_factor is not None:
            number("shift_factor", self.shift_factor, -1e6, 1e6)


@dataclasses.dataclass(frozen=True)
class VQModelConfig(CodecConfig):
    """Architecture of a `VQModel`.

    Attributes:
        num_vq_embeddings: vectors of the codebook.
        vq_embed_dim: their channels; None follows `latent_channels`.
    """

    latent_channels: int = 3
    num_vq_embeddings: int = 256
    vq_embed_dim: int | None = None

    only: ClassVar[dict[str, tuple[Any, str]]] = CodecConfig.only | {
        "norm_type": ("group", "the decoder does not look at the codebook again"),
        "lookup_from_codebook": (False, "latents are vectors, not numbers of vectors"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("num_vq_embeddings", self.num_vq_embeddings, 1 << 20)
        if self.vq_embed_dim is not None:
            whole("vq_embed_dim", self.vq_embed_dim, 1024)


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
        return (mean.astype(jnp.float32) - (self.config.shift_factor or 0)) * self.config.scaling_factor

    def decode(self, z: jax.Array) -> jax.Array:
        """Pictures of latents."""
        z = z / self.config.scaling_factor + (self.config.shift_factor or 0)
        return self.decoder(self.post_quant_conv(z) if self.config.use_post_quant_conv else z)

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

    ``method="decode"`` takes ``quantize``: whether they are replaced, as the published pipeline does.
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

    def decode(self, z: jax.Array, quantize: bool = True) -> jax.Array:
        """Pictures of latents."""
        z = z / self.config.scaling_factor
        return self.decoder(self.post_quant_conv(self.quantize(z) if quantize else z))

    def __call__(self, x: jax.Array) -> jax.Array:
        """There and back."""
        return self.decode(self.encode(x))
