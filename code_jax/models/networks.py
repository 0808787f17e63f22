"""Every kind of network by the name that its config says, ``_class_name``: what reads the config, and what it makes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from code_jax.errors import UserError, brief
from code_jax.models.autoencoder import AutoencoderKL, VQModel
from code_jax.models.clip_text import CLIPTextConfig, CLIPTextModel
from code_jax.models.codec_config import AutoencoderKLConfig, VQModelConfig
from code_jax.models.config import UNet2DConfig
from code_jax.models.dit import DiT, DiTConfig
from code_jax.models.edm2_unet import EDM2UNet, EDM2UNetConfig
from code_jax.models.song_unet import SongUNet, SongUNetConfig
from code_jax.models.text_unet import TextUNetConfig, UNet2DConditionModel
from code_jax.models.unet import UNet2DModel

Denoising = UNet2DModel | SongUNet | EDM2UNet | DiT | UNet2DConditionModel
Autoencoder = AutoencoderKL | VQModel
Network = Denoising | Autoencoder | CLIPTextModel
Kind = tuple[Callable[[Mapping[str, Any]], Any], Callable[[Any], Any]]

DENOISING: dict[str, Kind] = {
    "UNet2DModel": (UNet2DConfig.from_diffusers, UNet2DModel),
    "SongUNet": (SongUNetConfig.from_options, SongUNet),
    "EDM2UNet": (EDM2UNetConfig.from_options, EDM2UNet),
    "DiT": (DiTConfig.from_options, DiT),
    "UNet2DConditionModel": (TextUNetConfig.from_diffusers, UNet2DConditionModel),
}
AUTOENCODERS: dict[str, Kind] = {
    "AutoencoderKL": (AutoencoderKLConfig.from_diffusers, AutoencoderKL),
    "VQModel": (VQModelConfig.from_diffusers, VQModel),
}
NETWORKS = DENOISING | AUTOENCODERS | {"CLIPTextModel": (CLIPTextConfig.from_transformers, CLIPTextModel)}


def network_of(config: Mapping[str, Any], kinds: Mapping[str, Kind] = NETWORKS) -> Any:
    """The network that a config describes, of one of some kinds.

    Raises:
        UserError: names a kind, an option or a value that is not supported; nothing is allocated.
    """
    kind = config.get("_class_name", "UNet2DModel")
    if not isinstance(kind, str) or kind not in kinds:
        raise UserError(f"a network of the kind {brief(kind)} is not supported here; those that are: {', '.join(kinds)}")
    read, make = kinds[kind]
    return make(read(config))


def config_of(network: Network) -> dict[str, Any]:
    """The config that `network_of` makes this network of."""
    if isinstance(network, UNet2DModel):
        return network.config.to_diffusers()
    values = {
        name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(network.config).items()
    }
    return {"_class_name": type(network).__name__, **values}
