"""Writes what the plain tests compare with, by PyTorch; run as ``python -m tests.checkpoints_convert.make_golden``.

golden.npz: outputs of `adm.ADM`, and its parameters' names and shapes. zip.pt, legacy.pt: `SAVED` as ``torch.save`` writes it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from tests.checkpoints_convert.adm import ADM
from tests.checkpoints_convert.networks import NETWORKS, inputs
from tests.models.architectures import weights

FOLDER = Path(__file__).parent
DTYPES = ["float64", "float32", "float16", "bfloat16", "uint8", "int8", "int16", "int32", "int64", "bool"]


def reference(options: dict) -> tuple[np.ndarray, dict[str, torch.Tensor]]:
    """The predicted noise [B, H, W, 3] of the network in PyTorch, and the state dict it was given."""
    network = ADM(**options).eval()
    state = weights({name: tuple(tensor.shape) for name, tensor in network.state_dict().items()})
    state = {name: torch.from_numpy(values) for name, values in state.items()}
    network.load_state_dict(state)
    x, t = inputs()
    with torch.no_grad():
        output = network(torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(t))
    return output[:, :3].permute(0, 2, 3, 1).numpy(), state


def saved() -> dict[str, torch.Tensor]:
    """Every dtype, and every kind of view."""
    base = torch.arange(24.0).reshape(4, 6)
    return {name: torch.tensor([0, 1, 3]).to(getattr(torch, name)) for name in DTYPES} | {
        "base": base,
        "transposed": base.T,
        "sliced": base[1:, ::2],
        "expanded": torch.tensor([7.0]).expand(2, 3),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.tensor([1.0, -1.0])),
    }


if __name__ == "__main__":
    golden = {}
    for name, options in NETWORKS.items():
        golden[name], state = reference(options)
        golden[f"{name}.shapes"] = np.array(json.dumps({key: list(tensor.shape) for key, tensor in state.items()}))
    np.savez_compressed(FOLDER / "golden.npz", **golden)
    torch.save(saved(), FOLDER / "zip.pt")
    torch.save({"state_dict": saved(), "epoch": 3}, FOLDER / "legacy.pt", _use_new_zipfile_serialization=False)
