"""Seconds that a default edit with the CelebA-HQ-256 network takes to compile, and the memory it works in.

    python -m tests.benchmarks.compile_celebahq

From shapes alone: no weights are needed, and nothing is computed.
"""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp

import code_jax
from code_jax.editing.memory import memory_analysis
from code_jax.models.config import UNet2DConfig
from code_jax.models.unet import UNet2DModel
from tests.models.architectures import CELEBAHQ256

NETWORK = UNet2DModel(UNet2DConfig.from_diffusers({"layers_per_block": 2} | CELEBAHQ256))


def random_weights() -> Any:
    """Of the published network."""
    return NETWORK.init(jax.random.key(0), jnp.zeros((1, 256, 256, 3)), jnp.zeros(1))["params"]


def celebahq_256(params: Any) -> code_jax.Prior:
    """The published network with weights, or the shapes of them."""
    return code_jax.Prior.from_network(NETWORK, params, code_jax.linear_schedule(), "epsilon")


def main() -> None:
    prior = celebahq_256(jax.eval_shape(random_weights))
    begun, processor = time.perf_counter(), time.process_time()
    analysis, _ = memory_analysis(prior, code_jax.preset(), 1)
    seconds, used = time.perf_counter() - begun, time.process_time() - processor
    print(f"celebahq-256: traced and compiled in {seconds:.1f} s ({used:.1f} s of processor); "
          f"working memory of an image {analysis.temp_size_in_bytes / 2**20:.0f} MiB; jax {jax.__version__}")  # fmt: skip


if __name__ == "__main__":
    main()
