"""The architectures that are compared with diffusers, and weights that depend on names and a seed alone."""

from __future__ import annotations

import zlib

import numpy as np

_TINY = {
    "sample_size": 16,
    "block_out_channels": [8, 16],
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": 8,
}
_DDPM = {"flip_sin_to_cos": False, "freq_shift": 1, "downsample_padding": 0, "norm_eps": 1e-6, "attention_head_dim": None}

CIFAR10 = _DDPM | {
    "sample_size": 32,
    "block_out_channels": [128, 256, 256, 256],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
}
CELEBAHQ256 = _DDPM | {
    "sample_size": 256,
    "block_out_channels": [128, 128, 256, 256, 512, 512],
    "down_block_types": [*["DownBlock2D"] * 4, "AttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "AttnUpBlock2D", *["UpBlock2D"] * 4],
}
OPTIONS = {
    "plain": _TINY,
    "ddpm-embedding": _TINY | {"flip_sin_to_cos": False, "freq_shift": 1},
    "norm-eps": _TINY | {"norm_eps": 1e-2},
    "groups": _TINY | {"norm_num_groups": 8},
    "one-head": _TINY | {"attention_head_dim": None},
    "asymmetric-padding": _TINY | {"downsample_padding": 0},
    "scale-shift": _TINY | {"resnet_time_scale_shift": "scale_shift"},
    "scale-shift-attention-norm": _TINY | {"resnet_time_scale_shift": "scale_shift", "attn_norm_num_groups": 2},
    "no-middle-attention": _TINY | {"add_attention": False},
    "attention-at-every-level": _TINY | {"down_block_types": ["AttnDownBlock2D"] * 2, "up_block_types": ["AttnUpBlock2D"] * 2},
    "resnet-resampling-attention": _TINY
    | {
        "down_block_types": ["AttnDownBlock2D"] * 2,
        "up_block_types": ["AttnUpBlock2D"] * 2,
        "downsample_type": "resnet",
        "upsample_type": "resnet",
    },
    "resnet-resampling": _TINY
    | {"down_block_types": ["ResnetDownsampleBlock2D"] * 2, "up_block_types": ["ResnetUpsampleBlock2D"] * 2},
    "middle-scale": _TINY | {"mid_block_scale_factor": 1.5},
    "gelu": _TINY | {"act_fn": "gelu"},
    "mish": _TINY | {"act_fn": "mish"},
    "relu": _TINY | {"act_fn": "relu"},
    "embedding-width": _TINY | {"time_embedding_dim": 24},
    "centred-input": _TINY | {"center_input_sample": True},
    "asymmetric-blocks": _TINY
    | {"down_block_types": ["AttnDownBlock2D", "ResnetDownsampleBlock2D"], "up_block_types": ["UpBlock2D", "AttnUpBlock2D"]}
    | {"in_channels": 4, "out_channels": 4, "block_out_channels": [12, 20]},
    "more-layers-and-channels": _TINY | {"layers_per_block": 2, "in_channels": 1, "out_channels": 2},
}
ARCHITECTURES = OPTIONS | {"cifar10": CIFAR10, "celebahq-256": CELEBAHQ256}
GOLDEN_SIZE = {"celebahq-256": 32}  # of the recorded input: the same weights, at a size that a plain test run affords


def weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Weights of each name and shape; standard deviation one over the fan-in's root, norms around 1."""
    state = {}
    for name, shape in shapes.items():
        values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, np.float32)
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 0
        state[name] = values / np.float32(fan_in) ** 0.5 if fan_in else 0.2 * values + ("norm" in name and "weight" in name)
    return {name: values.astype(np.float32) for name, values in state.items()}


def inputs(config: dict, size: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Images NHWC and timesteps of a config."""
    size = size or config["sample_size"]
    x = np.random.default_rng(0).standard_normal((2, size, size, config.get("in_channels", 3)), np.float32)
    return x, np.array([3.0, 721.0], np.float32)
