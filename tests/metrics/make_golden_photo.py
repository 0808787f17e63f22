"""Writes golden_photo.npz: what the PyTorch original of the photo network answers, with its own and with the bundled weights.

Run as ``python -m tests.metrics.make_golden_photo`` with the extra `parity`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.metrics.networks import levels
from tests.metrics.torch_photo import bundled_state, published_state, resized_by_pillow, seen_by_pytorch

GOLDEN = Path(__file__).with_name("golden_photo.npz")
SIZES = {"small": (64, 64), "wide": (310, 401)}


if __name__ == "__main__":
    golden = {}
    for kind, state in (("published", published_state()), ("bundled", bundled_state())):
        for name, size in SIZES.items():
            features, logits = seen_by_pytorch(state, resized_by_pillow(levels(*size)))
            golden |= {f"{kind}-{name}-features": features, f"{kind}-{name}-logits": logits}
    np.savez_compressed(GOLDEN, **golden)
