"""Tiny networks of every kind but `UNet2DModel`, each with the inputs it is compared at: eight noise levels."""

from __future__ import annotations

import numpy as np

from code_jax.models.autoencoder import AutoencoderKL, VQModel
from code_jax.models.clip_text import CLIPTextConfig, CLIPTextModel
from code_jax.models.codec_config import AutoencoderKLConfig, VQModelConfig
from code_jax.models.dit import DiT, DiTConfig
from code_jax.models.edm2_unet import EDM2UNet, EDM2UNetConfig
from code_jax.models.song_unet import SongUNet, SongUNetConfig
from code_jax.models.text_unet import TextUNetConfig, UNet2DConditionModel
from code_jax.priors.weights import expected_shapes, from_state_dict
from tests.models.architectures import weights

_SONG = {"img_resolution": 8, "in_channels": 3, "out_channels": 3, "num_blocks": 1}
_FOURIER = {"embedding_type": "fourier", "channel_mult_noise": 2}
SONG = {
    "ddpmpp": _SONG | {"model_channels": 12, "channel_mult": [1, 2], "attn_resolutions": [4], "num_blocks": 2},
    "ncsnpp-one-channel-labels": _SONG
    | _FOURIER
    | {"in_channels": 1, "out_channels": 1, "label_dim": 5, "model_channels": 20, "channel_mult": [1, 2, 1]}
    | {"attn_resolutions": [8, 2], "encoder_type": "residual", "resample_filter": [1, 3, 3, 1]},
    "ncsnpp-skip-four-channels": _SONG
    | _FOURIER
    | {"in_channels": 4, "out_channels": 4, "model_channels": 16, "channel_mult": [1, 2, 2], "attn_resolutions": [4]}
    | {"encoder_type": "skip", "decoder_type": "skip", "resample_filter": [1, 3, 3, 1]},
    "residual-by-a-box": _SONG
    | _FOURIER
    | {"model_channels": 8, "channel_mult": [1, 2], "attn_resolutions": [], "encoder_type": "residual"},
}
EDM2 = {
    "edm2": {
        "img_resolution": 8,
        "img_channels": 3,
        "label_dim": 5,
        "model_channels": 12,
        "channel_mult": [1, 2],
        "num_blocks": 1,
    }
    | {"attn_resolutions": [8, 4], "channels_per_head": 6},
    "edm2-other-balances": {
        "img_resolution": 8,
        "img_channels": 1,
        "label_dim": 0,
        "model_channels": 8,
        "channel_mult": [1, 2, 3],
    }
    | {"num_blocks": 1, "attn_resolutions": [4], "channels_per_head": 8, "resample_filter": [1, 3, 3, 1], "clip_act": 2}
    | {"concat_balance": 0.3, "res_balance": 0.4, "attn_balance": 0.2, "channel_mult_noise": 2, "channel_mult_emb": 1},
    "edm2-four-channels": {
        "img_resolution": 8,
        "img_channels": 4,
        "label_dim": 5,
        "model_channels": 20,
        "channel_mult": [1, 1, 2],
    }
    | {"num_blocks": 2, "attn_resolutions": [8, 2], "channels_per_head": 10},
}
DIT = {
    "dit": {"input_size": 8, "patch_size": 2, "in_channels": 4, "hidden_size": 24, "depth": 2, "num_heads": 3, "num_classes": 5},
    "dit-without-variance": {"input_size": 12, "patch_size": 4, "in_channels": 1, "hidden_size": 20, "depth": 1, "num_heads": 2}
    | {"num_classes": 5, "learn_sigma": False, "mlp_ratio": 2.5},
}
TEXT = {
    "text": {"sample_size": 8, "in_channels": 4, "out_channels": 4, "block_out_channels": [8, 16, 16], "norm_num_groups": 4}
    | {"down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"]}
    | {"up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"]}
    | {"layers_per_block": 1, "attention_head_dim": 2, "cross_attention_dim": 12, "prompt_tokens": 9},
    "text-linear": {"sample_size": 8, "in_channels": 3, "out_channels": 3, "block_out_channels": [12, 24], "norm_num_groups": 3}
    | {"down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"], "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"]}
    | {"layers_per_block": 2, "attention_head_dim": [2, 6], "cross_attention_dim": 5, "prompt_tokens": 3}
    | {"use_linear_projection": True, "flip_sin_to_cos": False, "freq_shift": 1},
    "text-asymmetric": {"sample_size": 8, "in_channels": 1, "out_channels": 1, "block_out_channels": [12, 20, 24]}
    | {"down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D", "DownBlock2D"], "norm_num_groups": 4}
    | {"up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"]}
    | {"layers_per_block": 1, "attention_head_dim": [3, 5, 4], "cross_attention_dim": 7, "prompt_tokens": 4},
}
_LEVELS = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2, "sample_size": 8}
CODECS = {
    "kl": _LEVELS | {"block_out_channels": [8, 16], "norm_num_groups": 4},
    "kl-bare": _LEVELS
    | {"block_out_channels": [12, 12], "layers_per_block": 2, "norm_num_groups": 3, "latent_channels": 2, "in_channels": 1}
    | {"out_channels": 1, "use_quant_conv": False, "use_post_quant_conv": False, "mid_block_add_attention": False},
    "vq": _LEVELS | {"block_out_channels": [8, 16], "norm_num_groups": 4, "num_vq_embeddings": 32, "vq_embed_dim": 2},
    "vq-four-channels": _LEVELS
    | {"block_out_channels": [20, 12], "layers_per_block": 2, "norm_num_groups": 2, "latent_channels": 4, "in_channels": 4}
    | {"out_channels": 4, "num_vq_embeddings": 24},
}
CLIP = {
    "vocab_size": 30,
    "hidden_size": 12,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "max_position_embeddings": 9,
}
LABELS = np.array([0, 1, 2, 3, 4, 0, 1, 2])


def made(name: str):
    """The network of a name."""
    if name in SONG:
        return SongUNet(SongUNetConfig.from_options(SONG[name]))
    if name in EDM2:
        return EDM2UNet(EDM2UNetConfig.from_options(EDM2[name]))
    if name in DIT:
        return DiT(DiTConfig.from_options(DIT[name]))
    if name in TEXT:
        return UNet2DConditionModel(TextUNetConfig.from_diffusers(TEXT[name]))
    if "num_vq_embeddings" in CODECS.get(name, {}):
        return VQModel(VQModelConfig.from_diffusers(CODECS[name]))
    if name in CODECS:
        return AutoencoderKL(AutoencoderKLConfig.from_diffusers(CODECS[name]))
    return CLIPTextModel(CLIPTextConfig.from_transformers(CLIP))


def images(size: int, channels: int) -> np.ndarray:
    """Eight images."""
    return np.random.default_rng(1).standard_normal((8, size, size, channels), np.float32)


def noise_levels(name: str) -> np.ndarray:
    """Eight of what the network is told: timesteps, log σ, or log σ/4."""
    if name in EDM2:
        return np.linspace(-1.5, 1.2, 8, dtype=np.float32)
    fourier = SONG.get(name, {}).get("embedding_type") == "fourier"
    return np.linspace(-4, 4, 8, dtype=np.float32) if fourier else np.linspace(0, 999, 8, dtype=np.float32)


def params(network):
    """Parameters by `weights`."""
    return from_state_dict(network, weights(expected_shapes(network)))
