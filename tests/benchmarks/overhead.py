"""(time of an edit) / (NFE × time of the bare compiled network): what the loop around the network costs.

python -m tests.benchmarks.overhead [--prior eurosat-64] [--batch 8] [--runs 5]
"""

from __future__ import annotations

import argparse
import statistics
import time

import jax
import jax.numpy as jnp

import code_jax


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", default="eurosat-64")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    prior = code_jax.load_prior(args.prior)
    config = code_jax.preset("default", prior.schedule)
    images = jnp.zeros((args.batch, *prior.image_shape))
    keys = jax.random.split(jax.random.key(0), args.batch)
    eps = jax.jit(lambda prior, x, t: prior.eps(x, t))
    t = jnp.full(args.batch, 300.0)
    nfe = code_jax.edit(keys, prior, images, config).info.nfe
    eps(prior, images, t).block_until_ready()

    ratios, networks = [], []
    for _ in range(args.runs):  # the two in turn, so that the machine's drift hits both
        begun = time.perf_counter()
        for _ in range(nfe):
            eps(prior, images, t).block_until_ready()
        between = time.perf_counter()
        code_jax.edit(keys, prior, images, config).images.block_until_ready()
        networks.append((between - begun) / nfe / args.batch)
        ratios.append((time.perf_counter() - between) / (between - begun))
    print(f"{jax.devices()[0].device_kind}, batch {args.batch}, {nfe} NFE, {args.runs} runs, jax {jax.__version__}")
    print(f"network: {1e3 * statistics.median(networks):.2f} ms an image and evaluation (median)")
    print(f"edit / (NFE x network): median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    main()
