"""How good a prior is: Fréchet distance of its samples, their classes, the nearest training tiles, and loss by noise level.

    python -m tests.benchmarks.prior_quality --train train.zip --test test.zip --out DIR [--samples 1350] [--nfe 50] [--prior P]

Features are those of `eurosat-features`. Tables go to stdout; DIR gets the samples, ``grid.png`` (256 of them) and
``nearest.png`` (samples and the training tiles nearest to them, in pixels and in features: for looking at alone).
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from scipy import ndimage

import code_jax
from code_jax.bench.measure import spread
from code_jax.cli.runtime import use_cores
from code_jax.diffusion.parameterization import target
from code_jax.diffusion.solvers import find_solver
from code_jax.metrics import Moments, frechet_distance, landcover, load_landcover, moments_init, moments_update
from code_jax.priors.hash import prior_hash
from code_jax.training.data import held_out, read_pictures
from code_jax.training.recipe import Recipe
from code_jax.training.step import loss
from tests.benchmarks.train_landcover import accuracy_of, labelled

use_cores()
NETWORK = load_landcover()


def draw(prior: code_jax.Prior, seed: int, count: int, nfe: int, solver: str, grid: str, out: Path) -> np.ndarray:
    """Samples uint8 [count, H, W, 3]: latents N(0, I), one key a sample, carried down the ODE from depth 1.

    They are kept in `out`, 24 a file, where another run goes on from them.
    """
    steps = (nfe - 1) // find_solver(solver).evaluations
    folder = out / f"{prior_hash(prior)[:12]}-{seed}-{count}-{nfe}-{solver}-{grid}"
    folder.mkdir(exist_ok=True)
    paths = {first: folder / f"{first:06d}.npy" for first in range(0, count, 24)}
    missing = [first for first, path in paths.items() if not path.exists()]
    begun = time.monotonic()
    for done, first in enumerate(missing, 1):
        keys = jax.random.split(jax.random.key(seed), count)[first : first + 24]
        latents = jax.vmap(lambda key: jax.random.normal(key, prior.image_shape))(keys)
        everywhere, shared = spread(prior, len(latents))
        latents = jax.device_put(latents, shared)
        pictures = code_jax.to_uint8(code_jax.decode(everywhere, latents, depth=1.0, solver=solver, num_steps=steps, grid=grid))
        aside = paths[first].with_suffix(".tmp")
        with open(aside, "wb") as file:
            np.save(file, pictures)
        aside.replace(paths[first])
        left = (time.monotonic() - begun) / done * (len(missing) - done)
        print(f"\r{first + len(latents)} of {count} samples, {left:.0f} s left ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return np.concatenate([np.load(path) for path in paths.values()])


def describe(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Class probabilities [N, 10] and features [N, 64] of uint8 pictures."""
    parts = [landcover(NETWORK, np.asarray(code_jax.from_uint8(pictures[i : i + 250]))) for i in range(0, len(pictures), 250)]
    return np.concatenate([jax.nn.softmax(logits) for logits, _ in parts]), np.concatenate([features for _, features in parts])


def moments(features: np.ndarray) -> Moments:
    """The moments of features [N, 64]."""
    return moments_update(moments_init(features.shape[1]), features)


def nearest(queries: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Root-mean-square distance [N] from each query to the nearest point, and which it is [N]."""
    q, p = (array.reshape(len(array), -1).astype(np.float32) for array in (queries, points))
    squares = np.maximum((q**2).sum(1)[:, None] + (p**2).sum(1)[None] - 2 * q @ p.T, 0) / q.shape[1]
    return np.sqrt(squares.min(1)), squares.argmin(1)


def blurred(pictures: np.ndarray) -> np.ndarray:
    """Gaussian blur of σ = 1 pixel."""
    return np.round(ndimage.gaussian_filter(pictures.astype(np.float32), (0, 1, 1, 0))).astype(np.uint8)


def frechet_table(samples: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int) -> None:
    """Distances to the test tiles: of the samples, of as many training tiles (five draws), and of what is not like them."""
    rng, reference = np.random.default_rng(seed), moments(describe(test)[1])
    draws = [train[rng.permutation(len(train))[: len(samples)]] for _ in range(5)]
    floors = [frechet_distance(moments(describe(tiles)[1]), reference) for tiles in draws]
    noise = np.clip(rng.standard_normal(samples.shape) * 64 + 128, 0, 255).astype(np.uint8)
    floor = np.mean(floors)
    print("\n| Fréchet distance to the test tiles, of | | times the floor |\n|---|---|---|")
    print(f"| training tiles (floor, five draws ± sd {np.std(floors, ddof=1):.4f}) | {floor:.4f} | 1 |")
    for name, tiles in (("samples", samples), ("training tiles blurred, σ = 1", blurred(draws[0])), ("Gaussian noise", noise)):
        distance = frechet_distance(moments(describe(tiles)[1]), reference)
        print(f"| {name} | {distance:.4f} | {distance / floor:.1f} |")


def class_table(samples: np.ndarray, test: np.ndarray) -> None:
    """Share of each class and mean confidence of the classifier."""
    (ours, _), (theirs, _) = describe(samples), describe(test)
    print("\n| class | samples | test tiles |\n|---|---|---|")
    for i, name in enumerate(NETWORK.names):
        shares = [(probabilities.argmax(1) == i).mean() for probabilities in (ours, theirs)]
        print(f"| {name} | {shares[0]:.1%} | {shares[1]:.1%} |")
    print(f"| mean confidence | {ours.max(1).mean():.3f} | {theirs.max(1).mean():.3f} |")


def memory_table(samples: np.ndarray, train: np.ndarray, test: np.ndarray, sheet: Path) -> None:
    """Distances from 200 samples, and from 200 test tiles, to the training tile nearest to each."""
    samples, test = samples[:200], test[:: max(len(test) // 200, 1)][:200]
    print("\n| distance to the nearest training tile | 1st percentile | median | 99th percentile |\n|---|---|---|---|")
    _, pool = describe(train)
    for name, tiles in (("samples", samples), ("test tiles", test)):
        by_pixels, by_features = nearest(tiles, train), nearest(describe(tiles)[1], pool)
        for unit, (distances, _) in (("8-bit levels", by_pixels), ("features", by_features)):
            low, middle, high = np.percentile(distances, [1, 50, 99])
            print(f"| {name}, in {unit} | {low:.3g} | {middle:.3g} | {high:.3g} |")
        if name == "samples":
            order = np.argsort(by_pixels[0])[:20]
            rows = [samples[order], train[by_pixels[1][order]], train[by_features[1][order]]]
            Image.fromarray(np.concatenate([np.concatenate(row, axis=1) for row in rows])).save(sheet)


def loss_table(prior: code_jax.Prior, train: np.ndarray, validation: np.ndarray, seed: int) -> None:
    """Loss in ten bins of t beside that of the best predictor that knows each channel's mean and variance alone."""
    recipe = Recipe(prediction_type=prior.prediction_type)
    x0, reference = np.asarray(code_jax.from_uint8(validation)), np.asarray(code_jax.from_uint8(train[::10]))
    mean, variance = reference.mean((0, 1, 2)), reference.var((0, 1, 2))
    schedule, t = prior.schedule, jnp.linspace(0, prior.schedule.num_timesteps - 1, len(x0)).round()
    noise = jax.random.normal(jax.random.key(seed), x0.shape)

    def trivial(params: object, x: jax.Array, t: jax.Array) -> jax.Array:
        sigma = schedule.sigma(t)[:, None, None, None]
        z = x * jnp.sqrt(1 + sigma**2)
        guess = mean + variance / (variance + sigma**2) * (z - mean)
        return target(prior.prediction_type, guess, (z - guess) / sigma, sigma)

    print("\n| t | loss | per-channel Gaussian | ratio |\n|---|---|---|---|")
    for part in np.array_split(np.arange(len(x0)), 10):
        given = schedule, x0[part], t[part], noise[part]
        ours, theirs = (float(loss(f, recipe, prior.params, *given).mean()) for f in (jax.jit(prior.function), trivial))
        print(f"| {t[part[0]]:.0f}–{t[part[-1]]:.0f} | {ours:.5f} | {theirs:.5f} | {ours / theirs:.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--prior", default="eurosat-64")
    parser.add_argument("--samples", type=int, default=1350)
    parser.add_argument("--nfe", type=int, default=50)
    parser.add_argument("--solver", default="ddim")
    parser.add_argument("--ode-grid", default="time")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    prior = code_jax.load_prior(args.prior)
    names, pictures = read_pictures(args.train, prior.image_shape[0])
    held = held_out(names, 1000)
    train, validation = pictures[~held], pictures[held]
    _, test, labels, _ = labelled(args.test, NETWORK.names)
    print(f"{args.samples} samples of {args.prior}, {args.nfe} evaluations ({args.solver}, {args.ode_grid}), seed {args.seed}; "
          f"{platform.machine()}, code_jax {code_jax.__version__}, jax {jax.__version__}")  # fmt: skip
    loss_table(prior, train, validation[:200], args.seed)
    samples = draw(prior, args.seed, args.samples, args.nfe, args.solver, args.ode_grid, args.out)
    side = min(16, int(len(samples) ** 0.5))
    grid = samples[: side * side].reshape(side, side, *prior.image_shape)
    Image.fromarray(np.concatenate([np.concatenate(row, axis=1) for row in grid])).save(args.out / "grid.png")
    frechet_table(samples, train, test, args.seed)
    class_table(samples, test)
    print(f"\naccuracy of the classifier on the {len(test)} test tiles: {accuracy_of(NETWORK, test, labels):.2%}")
    memory_table(samples, train, test, args.out / "nearest.png")


if __name__ == "__main__":
    main()
