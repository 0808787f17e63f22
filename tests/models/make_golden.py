"""Writes golden.npz: what diffusers' network answers for `architectures`; run as ``python -m tests.models.make_golden``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DModel

from tests.models.architectures import ARCHITECTURES, GOLDEN_SIZE, inputs, weights

GOLDEN = Path(__file__).with_name("golden.npz")


def reference(config: dict, size: int | None = None) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The output [B, H, W, C] of diffusers' network, and the weights it was given."""
    network = UNet2DModel(**{"layers_per_block": 2} | config).eval()
    state = weights({name: tuple(tensor.shape) for name, tensor in network.state_dict().items()})
    network.load_state_dict({name: torch.from_numpy(values) for name, values in state.items()})
    x, t = inputs(config, size)
    with torch.no_grad():
        output = network(torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(t)).sample
    return output.permute(0, 2, 3, 1).numpy(), state


if __name__ == "__main__":
    outputs = {name: reference(config, GOLDEN_SIZE.get(name))[0] for name, config in ARCHITECTURES.items()}
    np.savez_compressed(GOLDEN, **outputs)
