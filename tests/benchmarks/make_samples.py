"""Makes the bundled samples: clean tiles drawn from the prior, and the same tiles damaged.

    python -m tests.benchmarks.make_samples OUT --seeds 1,2,3 [--grid grid.png]

Tile i is decoded from N(0, I) drawn with its seed, by 50 DDIM steps from depth 1. `--grid` writes the first 64
seeds to choose from.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax
import numpy as np
from PIL import Image

import code_jax
from tests.benchmarks.damages import DAMAGES, damaged


def draw(prior: code_jax.Prior, seeds: list[int]) -> np.ndarray:
    """Tiles [len(seeds), H, W, C] in [−1, 1], one for each seed."""
    latents = jax.vmap(lambda seed: jax.random.normal(jax.random.key(seed), prior.image_shape))(np.array(seeds))
    return np.asarray(code_jax.decode(prior, latents, depth=1.0, num_steps=50))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--prior", default="eurosat-64")
    parser.add_argument("--seeds", default="0,1,2,3,4,5,6,7")
    parser.add_argument("--grid", type=Path)
    args = parser.parse_args()
    prior = code_jax.load_prior(args.prior)
    if args.grid:
        tiles = draw(prior, list(range(64))).reshape(8, 8, *prior.image_shape)
        rows = np.concatenate([np.concatenate(row, axis=1) for row in tiles])
        Image.fromarray(code_jax.to_uint8(rows)).save(args.grid)
        return
    (args.out / "clean").mkdir(parents=True, exist_ok=True)
    seeds = [int(seed) for seed in args.seeds.split(",")]
    for i, (seed, clean) in enumerate(zip(seeds, draw(prior, seeds), strict=True)):
        name = list(DAMAGES)[i % len(DAMAGES)]
        clean = np.asarray(code_jax.from_uint8(code_jax.to_uint8(clean)))[None]
        (picture,), (source,) = code_jax.to_pil(damaged(name, clean, seed)), code_jax.to_pil(clean)
        picture.save(args.out / f"{name}_{seed}.png")
        source.save(args.out / "clean" / f"{name}_{seed}.png")


if __name__ == "__main__":
    main()
