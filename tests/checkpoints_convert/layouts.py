"""Tiny checkpoints in the layouts of the reference repositories."""

from __future__ import annotations

import numpy as np

SCORE_SDE = {
    # name: facts, and the options of the reference's config.model and config.data
    "ve-skip": ({"sde": "ve", "image_size": 8}, {"progressive": "output_skip", "progressive_input": "input_skip"}),
    "ve-residual": (
        {"sde": "ve", "image_size": 8},
        {"progressive_input": "residual", "ch_mult": (1, 2), "attn_resolutions": (8,), "num_channels": 1, "nf": 12},
    ),
    "vp": (
        {"sde": "vp", "image_size": 8},
        {
            "embedding_type": "positional",
            "fir": False,
            "scale_by_sigma": False,
            "centered": True,
            "ch_mult": (2, 1),
            "num_res_blocks": 2,
        },
    ),
    "sub-vp-four-channels": (
        {"sde": "sub-vp", "image_size": 8},
        {
            "embedding_type": "positional",
            "scale_by_sigma": False,
            "centered": True,
            "fir": False,
            "ch_mult": (1, 1, 2),
            "attn_resolutions": (8, 2),
            "num_channels": 4,
            "nf": 20,
        },
    ),
}
SKIP_BLOCKS = {
    "_class_name": "UNet2DModel",
    "sample_size": 8,
    "in_channels": 3,
    "out_channels": 3,
    "center_input_sample": True,
    "time_embedding_type": "fourier",
    "block_out_channels": [128, 128],
    "down_block_types": ["SkipDownBlock2D", "AttnSkipDownBlock2D"],
    "up_block_types": ["AttnSkipUpBlock2D", "SkipUpBlock2D"],
    "layers_per_block": 1,
    "mid_block_scale_factor": 2**0.5,
    "norm_num_groups": None,
    "norm_eps": 1e-6,
    "attention_head_dim": None,
    "act_fn": "silu",
}
ODD_SKIP_BLOCKS = SKIP_BLOCKS | {  # attention as the original has it, whose norms' groups diffusers has from 128 channels on
    "block_out_channels": [160, 160, 320],
    "down_block_types": ["SkipDownBlock2D", "AttnSkipDownBlock2D", "AttnSkipDownBlock2D"],
    "up_block_types": ["AttnSkipUpBlock2D", "AttnSkipUpBlock2D", "SkipUpBlock2D"],
    "layers_per_block": 2,
}
DHARIWAL = {
    "dhariwal": {"in_channels": 3, "out_channels": 3, "label_dim": 5, "model_channels": 128, "channel_mult": [1, 1]}
    | {"img_resolution": 8, "num_blocks": 1, "attn_resolutions": [4]},
    "dhariwal-four-channels": {"in_channels": 4, "out_channels": 4, "model_channels": 64, "channel_mult": [3, 2, 3]}
    | {"img_resolution": 8, "num_blocks": 1, "attn_resolutions": [8, 2]},
}
_ADM = {"image_size": 8, "use_scale_shift_norm": True, "resblock_updown": True}
ADM = {
    # name: facts, and the arguments of the reference's network
    "adm-classes": (
        {"image_size": 8, "head_channels": 32},
        _ADM
        | {"in_channels": 3, "model_channels": 32, "out_channels": 6, "num_res_blocks": 1, "attention_resolutions": (2,)}
        | {"channel_mult": (1, 2), "num_classes": 5, "num_head_channels": 32},
    ),
    "adm-one-channel": (
        {"image_size": 8, "num_heads": 2, "attention_order": "new"},
        _ADM
        | {"in_channels": 1, "model_channels": 64, "out_channels": 1, "num_res_blocks": 2, "attention_resolutions": (1, 4)}
        | {"channel_mult": (0.5, 1, 1.5), "num_heads": 2, "use_new_attention_order": True},
    ),
}
LABELS = np.array([0, 1, 2, 3, 4, 0, 1, 2])
SIGMAS = np.geomspace(0.02, 40, 8).astype(np.float32)
TIMES = np.linspace(0, 999, 8, dtype=np.float32)


def images(channels: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((8, 8, 8, channels), np.float32)
