"""Configs of the codecs: what diffusers' ``AutoencoderKL`` and ``VQModel`` read from ``config.json``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from code_jax.errors import UserError, brief
from code_jax.models.options import MAX_CHANNELS, MAX_LAYERS, MAX_LEVELS, MAX_SIZE, flag, number, read_options, whole, wholes

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

    @property
    def factor(self) -> int:
        """Pixels of a picture along one of its latents."""
        return 2 ** (len(self.block_out_channels) - 1)

    @property
    def channels(self) -> int:
        """Channels of the latents that a diffusion is of."""
        return self.latent_channels

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
        latents_mean, latents_std: taken from each channel, and divided by; None is nothing.
    """

    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    shift_factor: float | None = None
    latents_mean: tuple[float, ...] | None = None
    latents_std: tuple[float, ...] | None = None

    doubled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        flag("use_quant_conv", self.use_quant_conv)
        flag("use_post_quant_conv", self.use_post_quant_conv)
        if self.shift_factor is not None:
            number("shift_factor", self.shift_factor, -1e6, 1e6)
        for name, least in (("latents_mean", -1e6), ("latents_std", 1e-6)):
            row = getattr(self, name)
            if row is not None and (not isinstance(row, tuple) or len(row) != self.latent_channels):
                raise UserError(f"{name} is {brief(row)}; it must be a list of {self.latent_channels} numbers, one a channel")
            for value in row or ():
                number(name, value, least, 1e6)


@dataclasses.dataclass(frozen=True)
class VQModelConfig(CodecConfig):
    """Architecture of a `VQModel`.

    Attributes:
        num_vq_embeddings: vectors of the codebook.
        vq_embed_dim: their channels; None follows `latent_channels`.
        quantize: whether latents are replaced by the nearest of these vectors before they are decoded, as the published
            pipeline does; not an option of diffusers' class.
    """

    latent_channels: int = 3
    num_vq_embeddings: int = 256
    vq_embed_dim: int | None = None
    quantize: bool = True

    only: ClassVar[dict[str, tuple[Any, str]]] = CodecConfig.only | {
        "norm_type": ("group", "the decoder does not look at the codebook again"),
        "lookup_from_codebook": (False, "latents are vectors, not numbers of vectors"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("num_vq_embeddings", self.num_vq_embeddings, 1 << 20)
        if self.vq_embed_dim is not None:
            whole("vq_embed_dim", self.vq_embed_dim, 1024)
        flag("quantize", self.quantize)

    @property
    def channels(self) -> int:
        """Channels of the latents that a diffusion is of."""
        return self.vq_embed_dim or self.latent_channels
