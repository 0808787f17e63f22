"""Memory of one edit of a large picture: the compiler's analysis of the program, and a real evaluation with a tiny network.

python -m tests.benchmarks.tile_memory [--side 4096] [--chunk 8]
"""

from __future__ import annotations

import argparse
import resource
import time

import jax
import jax.numpy as jnp

import code_jax
from code_jax.editing.memory import program_memory
from tests.conftest import ONE_LEVEL, tiny_prior


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--chunk", type=int, default=8)
    args = parser.parse_args()
    prior = tiny_prior(**ONE_LEVEL, sample_size=(64, 64), add_attention=False)
    picture = 4 * 3 * args.side**2
    for side in (args.side // 4, args.side // 2, args.side):
        wide = code_jax.tiled(prior, (side, side), canvas=side, chunk=args.chunk)
        memory, own = program_memory(wide, code_jax.preset(), 1), 4 * 3 * side**2
        print(
            f"{side}x{side}: the program takes {memory / 2**20:.0f} MiB, {memory / own:.2f} times the picture in float32",
            flush=True,
        )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    z, sigma = jax.random.normal(jax.random.key(0), (1, args.side, args.side, 3)), jnp.float32(1)
    evaluate = jax.jit(code_jax.Tiled.eps_at).lower(wide, z, sigma).compile()
    begun = time.monotonic()
    eps = evaluate(wide, z, sigma).block_until_ready()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    print(
        f"one evaluation of {int(wide.count)} windows: {time.monotonic() - begun:.0f} s, finite: {bool(jnp.isfinite(eps).all())}"
    )
    print(f"the process grew by {peak / 2**20:.0f} MiB, {peak / picture:.2f} times the picture in float32")


if __name__ == "__main__":
    main()
