"""A trained prior as it is bundled: float16 weights, samples of it, and the patches that it knows, in a new folder.

python -m tests.benchmarks.bundle_prior PRIOR FOLDER [--patches 1,2,4] [--samples 64] [--seed 0]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax
import numpy as np
from PIL import Image

import code_jax

_ACROSS = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prior")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patches", type=lambda text: [int(part) for part in text.split(",")], default=[])
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    prior = code_jax.load_prior(args.prior)
    patches = tuple(args.patches) or prior.patches
    code_jax.save_prior(prior.replace(patches=patches), args.folder, dtype="float16")
    made = code_jax.load_prior(args.folder)
    noise = jax.random.normal(jax.random.key(args.seed), (args.samples, *made.image_shape))
    images = code_jax.to_uint8(code_jax.decode(made, noise, depth=1.0, num_steps=50))
    rows = [np.concatenate(list(images[k : k + _ACROSS]), 1) for k in range(0, args.samples, _ACROSS)]
    Image.fromarray(np.concatenate(rows)).save(args.folder / "samples.png", optimize=True)
    print(f"{args.folder}: {args.samples} samples by 50 DDIM steps, seed {args.seed}")


if __name__ == "__main__":
    main()
