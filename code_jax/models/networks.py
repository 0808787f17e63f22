"""Every kind of network by the name that its config says, ``_class_name``: what reads the config, and what it makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from code_jax.errors import UserError, brief
from code_jax.models.autoencoder import AutoencoderKL, AutoencoderKLConfig, VQModel, VQModelConfig
from code_jax.models.clip_text import CLIPTextConfig, CLIPTextModel
from code_jax.models.config import UNet2DConfig
from code_jax.models.dit import DiT, DiTConfig
from code_jax.models.edm2_unet import EDM2UNet, EDM2UNetConfig
from code_jax.models.song_unet import SongUNet, SongUNetConfig
from code_jax.models.unet import UNet2DModel

Network = UNet2DModel | SongUNet | EDM2UNet | DiT | AutoencoderKL | VQModel | CLIPTextModel

NETWORKS: dict[str, tuple[Callable[[Mapping[str, Any]], Any], Callable[[Any], Network]]] = {
    "UNet2DModel": (UNet2DConfig.from_diffusers, UNet2DModel),
    "SongUNet": (SongUNetConfig.from_options, SongUNet),
    "EDM2UNet": (EDM2UNetConfig.from_options, EDM2UNet),
    "DiT": (DiTConfig.from_options, DiT),
    "AutoencoderKL": (AutoencoderKLConfig.from_diffusers, AutoencoderKL),
    "VQModel": (VQModelConfig.from_diffusers, VQModel),
    "CLIPTextModel": (CLIPTextConfig.from_transformers, CLIPTextModel),
}


def network_of(config: Mapping[str, Any]) -> Network:
    """The network that a config describes.

    Raises:
        UserError: names a kind, an option or a value that is not supported; nothing is allocated.
    """
    kind = config.get("_class_name", "UNet2DModel")
    if kind not in NETWORKS:
        raise UserError(f"a network of the kind {brief(kind)} is not supported; those that are: {', '.join(NETWORKS)}")
    read, make = NETWORKS[kind]
    return make(read(config))
