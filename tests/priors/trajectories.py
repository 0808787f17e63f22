"""What the networks of `make_trajectories` are given: two pictures and labels, a level, and small configs in diffusers' words."""

from __future__ import annotations

import numpy as np

IMAGES = np.random.default_rng(2).uniform(-0.9, 0.9, (2, 8, 8, 3)).astype(np.float32)
LABELS, SIGMA, STEPS = np.array([3, 1]), 2.0, 20
PLAIN = {
    "_class_name": "UNet2DModel", "sample_size": 8, "block_out_channels": [8, 16], "layers_per_block": 1, "norm_num_groups": 4,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"], "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
}  # fmt: skip
LDM = PLAIN | {"sample_size": 4, "in_channels": 2, "out_channels": 2}
TEXT = {
    "_class_name": "UNet2DConditionModel", "sample_size": 4, "block_out_channels": [8, 16], "norm_num_groups": 4,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "layers_per_block": 1, "attention_head_dim": 2, "cross_attention_dim": 12, "prompt_tokens": 9,
}  # fmt: skip


def images_of(name: str) -> np.ndarray:
    """The pictures; those of the DiT, whose latents are 8×8, are twice as large."""
    return IMAGES.repeat(2, 1).repeat(2, 2) if name == "dit" else IMAGES
