"""Does a prior remember? How near its samples are to training pictures, and how near held-out pictures are. Numbers only.

    python -m tests.benchmarks.nearest_training_pictures --prior P --train portraits:margin=6 --train photos:patches=1,2,4 \
        --test portraits-test:margin=6 --test kodak:patches=1,2,4 [--samples 32] [--draws 8192]

By pixels: root mean square in 8-bit levels. By features: 1 − cosine of `photo_features`. The training pictures are --draws crops
and patches, drawn as in training, and their mirror images; there are as many held-out pictures as samples.
"""

from __future__ import annotations

import argparse
import platform

import jax
import numpy as np

import code_jax
from code_jax.bench.measure import spread
from code_jax.cli.runtime import use_cores
from code_jax.metrics import load_photo_network, nearest_neighbours, photo_features
from code_jax.priors.hash import prior_hash
from code_jax.training.sources import Dataset, parse_source

_AT_ONCE = 128
_UNITS = "8-bit levels", "1 − cosine of features"


def sample(prior: code_jax.Prior, count: int, steps: int, seed: int) -> np.ndarray:
    """Samples uint8 [count, H, W, C], carried down the ODE from depth 1."""
    latents = jax.random.normal(jax.random.key(seed), (count, *prior.image_shape))
    everywhere, shared = spread(prior, count)
    return code_jax.to_uint8(code_jax.decode(everywhere, jax.device_put(latents, shared), depth=1.0, num_steps=steps))


def pixel_distances(pictures: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The root mean square to the nearest of other pictures uint8 [N, H, W, C], for each [B]."""
    a, b = (x.reshape(len(x), -1).astype(np.float32) for x in (pictures, others))
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squares.min(1), 0) / a.shape[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", required=True)
    parser.add_argument("--train", required=True, action="append", type=parse_source)
    parser.add_argument("--test", required=True, action="append", type=parse_source)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--ode-steps", type=int, default=50)
    parser.add_argument("--draws", type=int, default=8192)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    use_cores()
    prior, network = code_jax.load_prior(args.prior), load_photo_network()
    features = jax.jit(lambda pictures: photo_features(network, code_jax.from_uint8(pictures)))
    train, test = (Dataset(sources, prior.image_shape, 0) for sources in (args.train, args.test))
    held = next(test.batches(args.seed, args.samples))
    pictures = np.concatenate([sample(prior, args.samples, args.ode_steps, args.seed), held])
    described, found = features(pictures), np.full((2, len(pictures)), np.inf)
    batches = train.batches(args.seed, _AT_ONCE)
    for _ in range(0, args.draws, _AT_ONCE):
        for others in (drawn := next(batches), drawn[:, :, ::-1]):
            by_features = nearest_neighbours(described, features(others))[1]
            found = np.minimum(found, [pixel_distances(pictures, others), by_features])
    made = f"{args.samples} samples of {args.prior} ({prior_hash(prior)[:12]}), {args.ode_steps} DDIM steps, seed {args.seed}"
    machine = f"{platform.machine()}, code_jax {code_jax.__version__}, jax {jax.__version__}"
    print(f"{made}; {args.draws} training pictures; {machine}\n")
    print("| distance to the nearest training picture | least | 25 % | median | 75 % | most |\n|---|---|---|---|---|---|")
    for unit, distances in zip(_UNITS, found, strict=True):
        for name, part in zip(("samples", "held-out pictures"), np.split(distances, 2), strict=True):
            shown = (f"{value:.4g}" for value in np.percentile(part, [0, 25, 50, 75, 100]))
            print(f"| {name}, {unit} | {' | '.join(shown)} |")
    for unit, distances in zip(_UNITS, found, strict=True):
        print(f"\neach sample, {unit}: " + " ".join(f"{value:.4g}" for value in distances[: args.samples]))


if __name__ == "__main__":
    main()
