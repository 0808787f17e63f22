"""The loss of priors by noise level on pictures of one or more sources, each a table with standard errors over pictures.

    python -m tests.benchmarks.prior_loss PRIOR… --data portraits-test.zip --data kodak.zip:patches=1,2,4 [--pictures 200]

Sources are stated as for ``code-jax train``; pictures, patches and noise follow from --seed. The loss is the squared error of v,
whatever a prior predicts; beside it the PSNR of the x_0 that it tells from x_t.
"""

from __future__ import annotations

import argparse
import platform

import jax
import numpy as np

import code_jax
from code_jax.cli.runtime import use_cores
from code_jax.training.sources import Dataset, parse_source
from code_jax.training.validation import levels, losses_by_level


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("priors", nargs="+")
    parser.add_argument("--data", required=True, action="append", type=parse_source)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    use_cores()
    machine = f"{platform.machine()}, code_jax {code_jax.__version__}, jax {jax.__version__}"
    for source in args.data:
        print(f"\n{source.path}: {args.pictures} pictures, seed {args.seed}; {machine}")
        for name in args.priors:
            prior = code_jax.load_prior(name)
            pictures = next(Dataset([source], prior.image_shape, 0).batches(args.seed, args.pictures))
            noise = np.random.default_rng(args.seed).standard_normal(pictures.shape, np.float32)
            losses = losses_by_level(prior, pictures, noise)
            print(f"\n| {name}: σ | v loss | ± | x_0, dB |\n|---|---|---|---|")
            for sigma, each in zip(levels(prior), losses.T, strict=True):
                error = each.std(ddof=1) / len(each) ** 0.5
                decibels = np.mean(10 * np.log10(4 * (1 + sigma**-2) / each))
                print(f"| {sigma:g} | {each.mean():.5f} | {error:.5f} | {decibels:.2f} |")


if __name__ == "__main__":
    main()
