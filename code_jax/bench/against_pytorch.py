"""The network's evaluation beside PyTorch's on the same device, with diffusers' UNet2DModel and the same weights."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from code_jax.bench.measure import Row, in_turn, milliseconds, network_task, ratio
from code_jax.priors.prior import NetworkOutput, Prior


def obstacle(precision: str) -> str | None:
    """What a comparison lacks here, if anything."""
    if not all(importlib.util.find_spec(name) for name in ("torch", "diffusers")):
        return "it takes the extra parity"
    backend = jax.default_backend()
    if backend == "cpu":
        return None if precision == "float32" else "on a CPU it takes float32"
    import torch

    return None if backend == "gpu" and torch.cuda.is_available() else f"PyTorch does not use this {backend}"


def against_pytorch(prior: Prior, batch: int, runs: int, calls: int, *, compiled: bool | None = None) -> list[Row]:
    """An evaluation of an image by each, in turn, `calls` in a row as an edit makes them, and PyTorch's time in units of ours.

    PyTorch runs as it is, and compiled where there is the C++ compiler that it takes ($CXX, or g++); `compiled` says so or not.

    Raises:
        ValueError: if the two do not give the same ε to 1e-3 in float32 on a CPU, or 0.1 (their times would say nothing).
    """
    import torch
    from diffusers import UNet2DModel

    from code_jax.priors.save import save_prior

    assert isinstance(prior.function, NetworkOutput)
    cuda, exact = jax.default_backend() == "gpu", prior.function.network.dtype == np.float32
    with tempfile.TemporaryDirectory() as folder:
        save_prior(prior, folder)
        dtype = torch.float32 if exact else torch.bfloat16
        model = UNet2DModel.from_pretrained(f"{folder}/unet", low_cpu_mem_usage=False, torch_dtype=dtype).eval()
    model = model.to("cuda" if cuda else "cpu")
    x = np.asarray(jax.random.normal(jax.random.key(0), (batch, *prior.image_shape)))
    pictures = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).to(model.device)
    t = torch.full((batch,), 300.0, device=model.device)

    def evaluate(network: Any, pictures: Any) -> Any:
        with torch.inference_mode():
            return network(pictures.to(model.dtype), t).sample.float()

    def task(network: Any) -> Callable[[], None]:
        def run() -> None:
            x = pictures
            for _ in range(calls):
                x = 0.5 * (x + evaluate(network, x))
            if cuda:
                torch.cuda.synchronize()

        return run

    ours = jax.jit(lambda prior, x: prior.function(prior.params, x, np.full(batch, 300.0, np.float32)))(prior, x)
    worst = float(np.abs(evaluate(model, pictures).cpu().numpy().transpose(0, 2, 3, 1) - np.asarray(ours)).max())
    if not worst <= (1e-3 if exact and not cuda else 0.1):
        raise ValueError(f"PyTorch's network and ours differ by {worst:.2g}")
    compiled = shutil.which(os.environ.get("CXX", "g++")) is not None if compiled is None else compiled
    networks = {"": model} | ({", compiled": torch.compile(model)} if compiled else {})
    mine, *theirs = in_turn([network_task(prior, prior.image_shape, batch, calls), *map(task, networks.values())], runs)
    threads = "" if cuda else f", {torch.get_num_threads()} threads"
    rows = []
    for kind, seconds in zip(networks, theirs, strict=True):
        name = f"PyTorch {torch.__version__}{kind}{threads}"
        rows.append(milliseconds(f"{name}: network, an evaluation of an image", seconds, batch * calls))
        rows.append(ratio(f"PyTorch{kind} / ours, an evaluation", seconds, mine))
    return rows
