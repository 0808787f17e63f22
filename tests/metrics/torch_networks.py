"""The feature networks in PyTorch, written down from their papers' tables; and torchmetrics' answers."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional


def planes(images: np.ndarray) -> torch.Tensor:
    """[B, H, W, C] as [B, C, H, W]."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)


def torchmetrics_values(a: np.ndarray, b: np.ndarray) -> dict[str, np.ndarray]:
    """torchmetrics' PSNR and SSIM [B] of images in [−1, 1], in float64 on [0, 1]."""
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    a, b = ((planes(x).double() + 1) / 2 for x in (a, b))
    psnr = peak_signal_noise_ratio(a, b, data_range=1.0, reduction="none", dim=(1, 2, 3))
    ssim = structural_similarity_index_measure(a, b, data_range=1.0, reduction="none")
    return {"psnr": psnr.numpy(), "ssim": ssim.numpy()}


def lpips_values(net: str, backbone: dict, linear: dict, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """LPIPS [B] (Zhang et al. 2018, equation 1) in float64."""
    alex = "64k11s4p2 tap max3 192k5p2 tap max3 384k3p1 tap 256k3p1 tap 256k3p1 tap"
    stages = [f"{' '.join([f'{width}k3p1'] * depth)} tap" for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))]
    plan = alex if net == "alex" else " max2 ".join(stages)
    kernels = iter(sorted((name for name in backbone if name.endswith("weight")), key=lambda name: int(name.split(".")[1])))
    shift, scale = (torch.tensor(v).double()[:, None, None] for v in ([-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]))
    x = (torch.cat([planes(a), planes(b)]).double() - shift) / scale
    total, taps = torch.zeros(len(a)).double(), 0
    for word in plan.split():
        if word == "tap":
            unit = functional.normalize(x, dim=1)
            difference = (unit[: len(a)] - unit[len(a) :]) ** 2
            total += (difference * torch.from_numpy(linear[f"lin{taps}.model.1.weight"])).sum(1).mean((1, 2))
            taps += 1
        elif word.startswith("max"):
            x = functional.max_pool2d(x, int(word[3:]), 2)
        else:
            name = next(kernels)
            stride, padding = 4 if "s4" in word else 1, int(word.split("p")[1])
            weight, bias = (torch.from_numpy(backbone[key]).double() for key in (name, name.replace("weight", "bias")))
            x = functional.relu(functional.conv2d(x, weight, bias, stride, padding))
    return total.numpy()


class FIDInception:
    """Inception-v3 with the pooling of TensorFlow's 2015-12-05 graph, in float64, from a state dict."""

    def __init__(self, state: dict[str, np.ndarray]) -> None:
        self.state = {name: torch.from_numpy(values).double() for name, values in state.items()}

    def __call__(self, levels: np.ndarray) -> np.ndarray:
        """Features [B, 2048] of pictures uint8 or float [B, 299, 299, 3] in 0..255."""
        x = (planes(levels).double() - 128) / 128
        x = self.unit(self.unit(self.unit(x, "Conv2d_1a_3x3", 2), "Conv2d_2a_3x3"), "Conv2d_2b_3x3", padding=1)
        x = functional.max_pool2d(x, 3, 2)
        x = self.unit(self.unit(x, "Conv2d_3b_1x1"), "Conv2d_4a_3x3")
        x = functional.max_pool2d(x, 3, 2)
        for block in "5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c":
            x = self.mixed(x, f"Mixed_{block}")
        return x.mean((2, 3)).numpy()

    def unit(self, x: torch.Tensor, name: str, stride: int = 1, padding: object = 0) -> torch.Tensor:
        norm = [self.state[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        x = functional.conv2d(x, self.state[f"{name}.conv.weight"], None, stride, padding)
        return functional.relu(functional.batch_norm(x, *norm, eps=1e-3))

    def mixed(self, x: torch.Tensor, block: str) -> torch.Tensor:
        """A block: every branch that the state dict names, in the order of the concatenation."""
        halving = block in ("Mixed_6a", "Mixed_7a")
        outputs = []
        for branch in ("branch1x1", "branch5x5", "branch7x7", "branch3x3", "branch3x3dbl", "branch7x7dbl", "branch7x7x3"):
            h, names = x, self.named(f"{block}.{branch}", "", *(f"_{i}" for i in range(1, 6)))
            for name in names:
                last = halving and name == names[-1]
                h = self.unit(h, name, 2 if last else 1, 0 if last else "same")
            ends = self.named(f"{block}.{branch}", "_2a", "_2b", "_3a", "_3b")
            outputs += [self.unit(h, name, padding="same") for name in ends] if ends else [h] * bool(names)
        if halving:
            return torch.cat([*outputs, functional.max_pool2d(x, 3, 2)], 1)
        if block == "Mixed_7c":
            pooled = functional.max_pool2d(x, 3, 1, 1)
        else:
            pooled = functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return torch.cat([*outputs, self.unit(pooled, f"{block}.branch_pool")], 1)

    def named(self, prefix: str, *suffixes: str) -> list[str]:
        return [prefix + suffix for suffix in suffixes if f"{prefix}{suffix}.conv.weight" in self.state]
