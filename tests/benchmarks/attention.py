"""Attention as the networks here compute it beside `jax.nn.dot_product_attention`: time, memory, and how far they differ.

    python -m tests.benchmarks.attention [--runs 5] [--precision float32|bfloat16]

At the sizes of published networks, for one picture; times are medians of runs taken in turn.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time

import jax
import jax.numpy as jnp

from code_jax.models.layers import attend

SIZES = {  # tokens, heads, channels of a head
    "google/ddpm-celebahq-256, 16×16": (256, 1, 512),
    "64x64_diffusion, 32×32": (1024, 6, 64),
    "DiT-XL-2-256": (256, 16, 72),
    "DiT-XL-2-512": (1024, 16, 72),
    "stable-diffusion-v1, 64×64": (4096, 8, 40),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    args = parser.parse_args()
    dtype = jnp.dtype(args.precision)
    print("| attention | ours, ms | jax.nn, ms | ours, MB | jax.nn, MB | largest difference |\n|---|---|---|---|---|---|")
    for name, (tokens, heads, channels) in SIZES.items():
        q, k, v = jax.random.normal(jax.random.key(0), (3, 1, tokens, heads, channels)).astype(dtype)
        kinds = functools.partial(attend, dtype=dtype), jax.nn.dot_product_attention
        programs = [jax.jit(kind).lower(q, k, v).compile() for kind in kinds]
        ours, theirs = (program(q, k, v) for program in programs)
        difference = float(jnp.abs(ours.astype(jnp.float32) - theirs.astype(jnp.float32)).max())
        seconds: list[list[float]] = [[], []]
        for _ in range(args.runs):
            for taken, program in zip(seconds, programs, strict=True):
                begun = time.perf_counter()
                program(q, k, v).block_until_ready()
                taken.append(time.perf_counter() - begun)
        times = [f"{1e3 * statistics.median(taken):.2f}" for taken in seconds]
        sizes = [f"{program.memory_analysis().temp_size_in_bytes / 1e6:.1f}" for program in programs]
        print(f"| {name} | {' | '.join([*times, *sizes])} | {difference:.1e} |", flush=True)
    print(f"{jax.devices()[0].device_kind}, {args.precision}, median of {args.runs}, seed 0, jax {jax.__version__}")


if __name__ == "__main__":
    main()
