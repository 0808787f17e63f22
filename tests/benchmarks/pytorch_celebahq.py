"""An evaluation of the CelebA-HQ-256 network beside PyTorch's, on the CPU, with random weights.

    python -m tests.benchmarks.pytorch_celebahq [--batch-size 2] [--runs 3]

It takes the extra `parity`; `code-jax bench` does the same with any prior's own weights.
"""

from __future__ import annotations

import argparse

import jax
import jax.numpy as jnp

from code_jax.bench.against_pytorch import against_pytorch
from code_jax.bench.measure import in_turn, milliseconds, network_task
from code_jax.cli.runtime import use_cores
from tests.benchmarks.compile_priors import ddpm
from tests.models.architectures import CELEBAHQ256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=2, help="pictures at a time, on as many devices as it divides among")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    use_cores()
    shapes = ddpm(CELEBAHQ256)
    network = shapes.function.network
    inputs = {name: jnp.zeros(shape.shape, shape.dtype) for name, shape in network.inputs.items()}
    prior = shapes.replace(params=jax.jit(network.init)(jax.random.key(0), **inputs)["params"])
    (ours,) = in_turn([network_task(prior, prior.image_shape, args.batch_size)], args.runs)
    rows = [milliseconds(f"an evaluation of an image, batch {args.batch_size}", ours, args.batch_size)]
    for row in rows + against_pytorch(prior, args.batch_size, args.runs, calls=1):
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
