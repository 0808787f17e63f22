"""Round-trip error in 8-bit levels of encode, then decode to σ_0, by solver, grid and evaluations, as a Markdown table.

    python -m tests.benchmarks.round_trip [--prior eurosat-64] [--depth 0.5]

For an exact oracle (a Gaussian per pixel) and for the prior on samples of the package. No clipping, no noise, no thresholding.
"""

from __future__ import annotations

import argparse
from importlib import resources

import jax
import jax.numpy as jnp
import numpy as np
from code_jax.diffusion.probability_flow import GRIDS, NFE_PER_STEP
from PIL import Image

import code_jax


def gaussian(deviations: jax.Array) -> code_jax.Prior:
    """The prior N(0, diag(deviations²)) with its exact ε."""
    schedule = code_jax.linear_schedule()

    def eps(deviations: jax.Array, x: jax.Array, t: jax.Array) -> jax.Array:
        noise = schedule.variance(t)[:, None, None, None]
        return jnp.sqrt(noise) * x / ((1 - noise) * deviations**2 + noise)

    return code_jax.Prior.from_function(eps, deviations, schedule, deviations.shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", default="eurosat-64")
    parser.add_argument("--depth", type=float, default=0.5)
    parser.add_argument("--images", type=int, default=2, help="how many of the package's clean samples")
    args = parser.parse_args()
    prior = code_jax.load_prior(args.prior)
    folder = resources.files("code_jax") / "priors" / "samples" / "clean"
    with resources.as_file(folder) as path:
        images = code_jax.from_pil([Image.open(file) for file in sorted(path.glob("*.png"))[: args.images]])
    deviations = jnp.linspace(0.05, 1.0, 64 * 64 * 3).reshape(64, 64, 3)
    cases = {"oracle": (gaussian(deviations), deviations * jax.random.normal(jax.random.key(0), images.shape)),
             args.prior: (prior, images)}  # fmt: skip
    print(f"depth {args.depth}, {len(images)} samples, mean absolute error in 8-bit levels; jax {jax.__version__}\n")
    print("| prior | solver | grid | 50 NFE | 100 NFE | 200 NFE |\n" + "|---" * 6 + "|")
    for name, (denoiser, clean) in cases.items():
        for solver, cost in NFE_PER_STEP.items():
            for grid in GRIDS:
                cells = []
                for nfe in (50, 100, 200):
                    options = {"depth": args.depth, "solver": solver, "num_steps": max(nfe // (2 * cost), 1), "grid": grid}
                    x_t = code_jax.encode(denoiser, clean, **options)
                    back = code_jax.decode(denoiser, x_t, **options, final=False)
                    cells.append(f"{float(np.mean(np.abs(back - clean)) * 127.5):.3g}")
                print(f"| {name} | {solver} | {grid} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
