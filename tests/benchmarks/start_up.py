"""What a start costs: the first and second run of one command, and the compilation of the CelebA-HQ-256 network's edit.

    python -m tests.benchmarks.start_up [--celebahq]

A run's wall time is split into imports (of an interpreter that only imports), evaluations (their number times the network's time,
as ``code-jax bench`` measures it, on the same padded batch) and the rest.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp

import code_jax
from code_jax.bench.measure import in_turn, network_task
from code_jax.editing.config import canonical
from code_jax.editing.edit import advance, begin, image_keys, number_of_moves, per_image
from code_jax.models.config import UNet2DConfig
from code_jax.models.unet import UNet2DModel
from tests.models.architectures import CELEBAHQ256

_IMPORTS = "import code_jax.batch.restore, code_jax.priors.load, code_jax.cli.main, checkpoints_convert.diffusers"


def wall(words: list[str], cache: str) -> tuple[float, float]:
    """Seconds and seconds of processor time of a Python process."""
    before, begun = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *words], env=os.environ | {"XDG_CACHE_HOME": cache}, check=True, capture_output=True)
    after = os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - begun, processor


def of_the_command() -> None:
    """Prints both starts of the README's first command, on one sample."""
    sample = str(code_jax.priors.load.bundled_samples()[0])
    prior = code_jax.load_prior("eurosat-64")
    nfe = number_of_moves(code_jax.preset("default", prior.schedule))[1]
    ((network,),) = in_turn([network_task(prior, prior.image_shape, 8, nfe)], 1)
    with tempfile.TemporaryDirectory() as cache:
        imports, _ = wall(["-c", _IMPORTS], cache)
        print(f"imports {imports:.1f} s; {nfe} evaluations of a batch of 8 {network:.1f} s")
        for name in ("first", "second"):
            out = str(Path(cache) / name)
            seconds, processor = wall(["-m", "code_jax", "restore", sample, "--out", out], cache)
            print(f"{name} start {seconds:.1f} s ({processor:.1f} s of processor), beyond imports and evaluations "
                  f"{seconds - imports - network:.1f} s")  # fmt: skip


def of_celebahq() -> None:
    """Prints the compilation of a default edit with the CelebA-HQ-256 network, from shapes alone."""
    network = UNet2DModel(UNet2DConfig.from_diffusers({"layers_per_block": 2} | CELEBAHQ256))
    images = jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32)
    params = jax.eval_shape(network.init, jax.random.key(0), images, jnp.zeros(1))["params"]
    prior = code_jax.Prior.from_network(network, params, code_jax.linear_schedule(), "epsilon")
    config = per_image(canonical(code_jax.preset("default", prior.schedule)), 1)
    keys = image_keys(jax.random.key(0), jnp.zeros((1, 1)))
    travel = jax.eval_shape(begin, keys, prior, images, config)
    begun, processor = time.perf_counter(), time.process_time()
    lowered = advance.lower(keys, prior, travel, config, jnp.int32(0), jnp.int32(1))
    traced = time.perf_counter()
    analysis = lowered.compile().memory_analysis()
    ended, used = time.perf_counter(), time.process_time() - processor
    print(f"celebahq-256: traced in {traced - begun:.1f} s, compiled in {ended - traced:.1f} s ({used:.1f} s of processor in all); "
          f"working memory of an image {analysis.temp_size_in_bytes / 2**20:.0f} MiB")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--celebahq", action="store_true", help="the compilation of the CelebA-HQ-256 edit instead")
    (of_celebahq if parser.parse_args().celebahq else of_the_command)()
