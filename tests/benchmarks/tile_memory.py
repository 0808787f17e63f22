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
from code_jax.editing.edit import advance, begin, per_image
from tests.conftest import ONE_LEVEL, tiny_prior


def edit_memory(prior: code_jax.Prior, side: int, chunk: int) -> int:
    """Bytes that the program of an edit of [side, side, 3] needs, arguments and results included (those it shares once)."""
    wide = jax.eval_shape(lambda: code_jax.tiled(prior, (side, side), canvas=side, chunk=chunk))
    config = per_image(code_jax.preset().with_program(num_steps=2, langevin_steps=2), prior, 1)
    keys, image = jax.random.split(jax.random.key(0), 1), jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    state = jax.eval_shape(begin, keys, wide, image, config)
    memory = advance.lower(keys, wide, state, config, None, jnp.int32(0), jnp.int32(1)).compile().memory_analysis()
    return int(memory.temp_size_in_bytes + memory.argument_size_in_bytes)  # the result takes the argument's place


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--chunk", type=int, default=8)
    args = parser.parse_args()
    prior = tiny_prior(**ONE_LEVEL, sample_size=(64, 64), add_attention=False)
    picture = 4 * 3 * args.side**2
    for side in (args.side // 4, args.side // 2, args.side):
        memory, own = edit_memory(prior, side, args.chunk), 4 * 3 * side**2
        print(
            f"{side}x{side}: the program takes {memory / 2**20:.0f} MiB, {memory / own:.2f} times the picture in float32",
            flush=True,
        )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    wide = code_jax.tiled(prior, (args.side, args.side), canvas=args.side, chunk=args.chunk)
    x = jax.random.normal(jax.random.key(0), (1, args.side, args.side, 3))
    evaluate = jax.jit(lambda wide, x, t: wide.eps(x, t)).lower(wide, x, jnp.array([300.0])).compile()
    begun = time.monotonic()
    eps = evaluate(wide, x, jnp.array([300.0])).block_until_ready()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    print(
        f"one evaluation of {int(wide.count)} windows: {time.monotonic() - begun:.0f} s, finite: {bool(jnp.isfinite(eps).all())}"
    )
    print(f"the process grew by {peak / 2**20:.0f} MiB, {peak / picture:.2f} times the picture in float32")


if __name__ == "__main__":
    main()
