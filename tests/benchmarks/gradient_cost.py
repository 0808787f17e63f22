"""What a gradient through the network costs in forward passes, by the operations that the compiler counts.

    python -m tests.benchmarks.gradient_cost

The second line is of two steps of `code_jax.editing.mapping`, one after the other: a loop's operations the compiler counts once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import code_jax


def operations(function: Callable[..., Any], *arguments: Any) -> float:
    return jax.jit(function).lower(*arguments).compile().cost_analysis()["flops"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", default="pictures-64")
    prior = code_jax.load_prior(parser.parse_args().prior)
    z, sigma = jnp.zeros((1, *prior.image_shape)), jnp.float32(1)

    def once(z: jax.Array) -> jax.Array:
        return jnp.sum(prior.eps_at(z, sigma) ** 2)

    def twice(z: jax.Array) -> jax.Array:
        step = jax.checkpoint(lambda z, sigma: z - sigma * prior.eps_at(z, sigma))
        return jnp.sum(step(step(z, sigma), sigma / 2) ** 2)

    forward = operations(once, z)
    print(f"a gradient of one evaluation: {operations(jax.value_and_grad(once), z) / forward:.2f} forward passes")
    print(f"of each step of two with activations anew: {operations(jax.value_and_grad(twice), z) / forward / 2:.2f}")


if __name__ == "__main__":
    main()
