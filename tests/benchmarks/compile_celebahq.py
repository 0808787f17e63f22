"""Seconds that a default edit with the CelebA-HQ-256 network takes to compile, and the memory it works in.

    python -m tests.benchmarks.compile_celebahq

From shapes alone: no weights are needed, and nothing is computed.
"""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
from code_jax.editing.config import canonical

import code_jax
from code_jax.editing.edit import advance, begin, image_keys, per_image
from code_jax.models.config import UNet2DConfig
from code_jax.models.unet import UNet2DModel
from tests.models.architectures import CELEBAHQ256


def celebahq_256() -> code_jax.Prior:
    """The published network with random weights."""
    network = UNet2DModel(UNet2DConfig.from_diffusers({"layers_per_block": 2} | CELEBAHQ256))
    params = network.init(jax.random.key(0), jnp.zeros((1, 256, 256, 3)), jnp.zeros(1))["params"]
    return code_jax.Prior.from_network(network, params, code_jax.linear_schedule(), "epsilon")


def main() -> None:
    prior, images = jax.eval_shape(celebahq_256), jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32)
    config = per_image(canonical(code_jax.preset("default", code_jax.linear_schedule())), 1)
    keys = image_keys(jax.random.key(0), jnp.zeros((1, 1)))
    travel = jax.eval_shape(begin, keys, prior, images, config)
    begun, processor = time.perf_counter(), time.process_time()
    lowered = advance.lower(keys, prior, travel, config, jnp.int32(0), jnp.int32(1))
    traced = time.perf_counter()
    analysis = lowered.compile().memory_analysis()
    ended, used = time.perf_counter(), time.process_time() - processor
    print(f"celebahq-256: traced in {traced - begun:.1f} s, compiled in {ended - traced:.1f} s ({used:.1f} s of processor); "
          f"working memory of an image {analysis.temp_size_in_bytes / 2**20:.0f} MiB")  # fmt: skip


if __name__ == "__main__":
    main()
