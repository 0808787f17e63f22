"""Writes golden.npz: what torchmetrics, lpips, torch-fidelity and clean-fid answer.

Run as ``python -m tests.metrics.make_golden``. Needs these packages, in versions 1.9, 0.1.4, 0.4.0 and 0.1.35, and torchvision,
which they import; the tests need torchmetrics alone.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import lpips
import numpy as np
import torch
import torch_fidelity.feature_extractor_inceptionv3 as fidelity
from cleanfid.resize import build_resizer

from tests.metrics.networks import NETS, backbone_state, images, inception_state, levels, linear_state
from tests.metrics.torch_networks import planes, torchmetrics_values

GOLDEN = Path(__file__).with_name("golden.npz")
SIZES = {"small": (64, 64), "wide": (310, 401)}


def lpips_values(net: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """lpips' distances [B] with our test weights."""
    network = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)
    given = backbone_state(net)
    for name, parameter in network.net.named_parameters():
        parameter.data = torch.from_numpy(given[f"features.{name.split('.', 1)[1]}"])  # slice2.3.weight -> features.3.weight
    network.load_state_dict({name: torch.from_numpy(values) for name, values in linear_state(net).items()}, strict=False)
    with torch.no_grad():
        return network(planes(a), planes(b)).flatten().numpy()


def inception_values(pictures: np.ndarray, resize: str) -> np.ndarray:
    """torch-fidelity's features [B, 2048] with our test weights, of pictures uint8 [B, H, W, 3]."""
    state = {name: torch.from_numpy(values) for name, values in inception_state().items()}
    state |= {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    with tempfile.NamedTemporaryFile() as file:
        torch.save(state, file.name)
        network = fidelity.FeatureExtractorInceptionV3("inception", ["2048"], file.name)
    if resize == "clean-fid":  # clean-fid resizes outside its network, which is the same one
        resized = np.stack([build_resizer("clean")(picture) for picture in pictures])
        fidelity.interpolate_bilinear_2d_like_tensorflow1x = lambda x, **_: torch.from_numpy(resized).permute(0, 3, 1, 2)
    return network(torch.from_numpy(pictures).permute(0, 3, 1, 2))[0].numpy()


if __name__ == "__main__":
    a, b = (np.asarray(images(*SIZES["small"], seed=seed)) for seed in (0, 1))
    golden = {f"lpips-{net}": lpips_values(net, a, b) for net in NETS}
    golden |= {f"torchmetrics-{name}": values for name, values in torchmetrics_values(a, 0.8 * a + 0.2 * b).items()}
    for resize in ("torch-fidelity", "clean-fid"):  # in this order: the second replaces a function
        golden |= {f"{resize}-{name}": inception_values(levels(*size), resize) for name, size in SIZES.items()}
    np.savez_compressed(GOLDEN, **golden)
