"""The guided-diffusion networks that are compared with PyTorch."""

from __future__ import annotations

import numpy as np

SIZE = 16
NETWORKS = {
    # As the published 256×256 networks are, but narrow: two heads of 64 channels, attention at one level of three.
    "legacy": {"channels": (64, 64, 128), "attention": (2,)},
    "new-order": {"attention": (0, 1), "blocks": 2, "order": "new", "head": 32},
    "convolutions": {"modulate": False, "resnet": False, "outputs": 3, "head": 32},
    "one-level": {"channels": (64,), "attention": (0,)},
    "heads-of-two-sizes": {"attention": (0, 1), "heads": 4},
}


def facts(options: dict) -> dict:
    """What `GuidedDiffusion` must be told of a network."""
    heads = {"num_heads": options["heads"]} if "heads" in options else {"head_channels": options.get("head", 64)}
    return {"image_size": SIZE, "attention_order": options.get("order", "legacy")} | heads


def inputs() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).standard_normal((2, SIZE, SIZE, 3), np.float32)
    return x, np.array([3.0, 721.0], np.float32)
