"""The network's evaluation beside PyTorch's, on the CPU, with diffusers' UNet2DModel and the same weights."""

from __future__ import annotations

import importlib.util
import tempfile
from typing import Any

import jax
import numpy as np

from code_jax.bench.measure import Row, in_turn, milliseconds, network_task, ratio
from code_jax.priors.prior import NetworkOutput, Prior


def installed() -> bool:
    """Whether PyTorch and diffusers (the extra `parity`) can be imported."""
    return all(importlib.util.find_spec(name) for name in ("torch", "diffusers"))


def against_pytorch(prior: Prior, batch: int, runs: int) -> list[Row]:
    """Milliseconds of an evaluation of an image by each, in turn, and PyTorch's time as a multiple of ours.

    Raises:
        ValueError: if the two do not give the same ε to 1e-3 (their times would say nothing).
    """
    import torch
    from diffusers import UNet2DModel

    from checkpoints_convert.diffusers import write_diffusers

    assert isinstance(prior.function, NetworkOutput)
    with tempfile.TemporaryDirectory() as folder:
        write_diffusers(prior, folder)
        model = UNet2DModel.from_pretrained(f"{folder}/unet", low_cpu_mem_usage=False).eval()
    x = np.asarray(jax.random.normal(jax.random.key(0), (batch, *prior.image_shape)))
    pictures, t = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()), torch.full((batch,), 300.0)

    def theirs() -> Any:
        with torch.inference_mode():
            return model(pictures, t).sample

    ours = jax.jit(lambda prior, x: prior.function(prior.params, x, np.full(batch, 300.0, np.float32)))(prior, x)
    worst = float(np.abs(theirs().numpy().transpose(0, 2, 3, 1) - np.asarray(ours)).max())
    if worst > 1e-3:
        raise ValueError(f"PyTorch's network and ours differ by {worst:.2g}")
    mine, other = in_turn([network_task(prior, prior.image_shape, batch), theirs], runs)
    name = f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads"
    return [
        milliseconds(f"{name}: network, an evaluation of an image", other, batch),
        ratio("PyTorch / ours, an evaluation", other, mine),
    ]
