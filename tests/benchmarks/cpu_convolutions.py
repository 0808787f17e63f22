"""A network on a CPU, a batch as a whole and image by image.

    python -m tests.benchmarks.cpu_convolutions [--prior pictures-64] [--calls 10] [--runs 7]

Also how far the answers of a batch of one image repeated are from each other.
"""

from __future__ import annotations

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

import code_jax
from code_jax.devices.one_by_one import apart
from code_jax.priors.load import load_prior


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", default="pictures-64")
    parser.add_argument("--calls", type=int, default=10)
    parser.add_argument("--runs", type=int, default=7)
    args = parser.parse_args()
    prior = load_prior(args.prior)

    def chain(prior: code_jax.Prior, z: jax.Array) -> jax.Array:
        sigma = jnp.full((len(z), 1, 1, 1), 0.5)
        return jax.lax.fori_loop(0, args.calls, lambda _, z: 0.5 * (z + prior.eps_at(z, sigma)), z)

    run = jax.jit(chain)
    print("| batch | computed | ms an image | largest difference |\n|---|---|---|---|")
    for batch in (1, 2, 4, 8):
        z = jnp.repeat(jax.random.normal(jax.random.key(0), (1, *prior.image_shape)), batch, axis=0)
        ways = _ways(prior, z)
        taken: dict[str, list[float]] = {way: [] for way in ways}
        apart_by = {way: float(np.ptp(np.asarray(run(own, z)), axis=0).max()) for way, own in ways.items()}
        for _ in range(args.runs):
            for way, own in ways.items():
                begun = time.perf_counter()
                run(own, z).block_until_ready()
                taken[way].append(1e3 * (time.perf_counter() - begun) / args.calls / batch)
        for way, times in taken.items():
            print(f"| {batch} | {way} | {statistics.median(times):.1f} | {apart_by[way]:.1e} |", flush=True)
    print(f"{jax.devices()[0].device_kind}, {args.prior}, median of {args.runs}, seed 0, jax {jax.__version__}")


def _ways(prior: code_jax.Prior, z: jax.Array) -> dict[str, code_jax.Prior]:
    return {"as a whole": prior} | ({"image by image": apart(prior, z)} if len(z) > 1 else {})


if __name__ == "__main__":
    main()
