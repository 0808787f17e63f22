"""Damage that real tiles have: found by the prior's own score, restored blind, as Markdown tables.

    python -m tests.benchmarks.real_damage --data train.zip --held-out 1000 [--worst 8] [--sheet sheet.png]

One evaluation of the network at fixed noise n (of mean 0 in each channel) makes a score; ε − n is how far the prior pulls a tile.

- haze: the mean of ε − n in blue at t = 600, in deviations of the mean of as much noise. Haze scatters blue light.
- blocks: the logarithm of the mean of (ε − n)² at t = 100, less what a tile's contrast explains: a parabola in the logarithm of
  the mean squared difference between neighbours, fitted to all tiles. Compression leaves blocks where there is nothing to see.

The sheet shows the data and is for looking at alone; its blocks are stretched to the contrast of the input.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable
from pathlib import PurePath
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

import code_jax
from code_jax.metrics import landcover, load_landcover, psnr
from code_jax.training.data import held_out, read_pictures

CHUNK = 25


class Finder(NamedTuple):
    """A damage: the timestep of its score, the score of residuals and tiles, and the presets to restore it with."""

    timestep: float
    score: Callable[[np.ndarray, np.ndarray], np.ndarray]
    presets: tuple[str, ...]


@jax.jit
def pull(prior: code_jax.Prior, images: jax.Array, t: float, key: jax.Array) -> jax.Array:
    """ε − n of images [B, H, W, C] with the same noise n of mean 0 added to each."""
    noise = jax.random.normal(key, prior.image_shape)
    noise -= noise.mean((0, 1))
    schedule = prior.schedule
    return prior.eps(jnp.sqrt(schedule.alpha_bar(t)) * images + jnp.sqrt(schedule.variance(t)) * noise, jnp.float32(t)) - noise


def residuals(prior: code_jax.Prior, images: np.ndarray, t: float, seed: int) -> np.ndarray:
    """`pull` of any number of images, in chunks of one size."""
    padded = np.resize(images, (-(-len(images) // CHUNK) * CHUNK, *images.shape[1:]))
    parts = [np.asarray(pull(prior, padded[i : i + CHUNK], t, jax.random.key(seed))) for i in range(0, len(padded), CHUNK)]
    return np.concatenate(parts)[: len(images)]


def haze(residual: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Pull of the mean in blue, in deviations."""
    return np.sqrt(residual.shape[1] * residual.shape[2]) * residual[..., 2].mean((1, 2))


def log_error(residual: np.ndarray) -> np.ndarray:
    """Logarithm of the mean square."""
    return np.log((residual**2).mean((1, 2, 3)))


def log_contrast(images: np.ndarray) -> np.ndarray:
    """Logarithm of the mean squared difference between neighbours."""
    return np.log(sum((np.diff(images, axis=axis) ** 2).mean((1, 2, 3)) for axis in (1, 2)) / 2 + 1e-6)


def opinion(images: np.ndarray, labels: np.ndarray) -> tuple[int, float]:
    """How many tiles the land-cover classifier names right, and the mean probability that it gives to their classes."""
    probabilities = np.asarray(jax.nn.softmax(landcover(load_landcover(), images)[0]))
    return int((probabilities.argmax(1) == labels).sum()), float(probabilities[np.arange(len(labels)), labels].mean())


def stretched(images: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Images in the contrast of others: their 2nd to 98th percentile, channel by channel, is the whole range."""
    low, high = np.percentile(like, (2, 98), axis=(1, 2), keepdims=True)
    return np.clip(2 * (images - low) / np.maximum(high - low, 0.06) - 1, -1, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder or zip of tiles, in folders named by their classes")
    parser.add_argument("--held-out", type=int, default=0, help="look at the N held out of training, by name hash; 0 is all")
    parser.add_argument("--worst", type=int, default=8, help="tiles of each damage to restore")
    parser.add_argument("--prior", default="eurosat-64")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", help="write a contact sheet here")
    args = parser.parse_args()

    prior, classes = code_jax.load_prior(args.prior), load_landcover().names
    names, pictures = read_pictures(args.data, prior.image_shape[0])
    chosen = np.flatnonzero(held_out(names, args.held_out or len(names)))
    tiles = np.asarray(code_jax.from_uint8(pictures[chosen]))
    print(f"{len(tiles)} tiles, seed {args.seed}, {platform.machine()}, code_jax {code_jax.__version__}, jax {jax.__version__}")

    fine = residuals(prior, tiles, 100.0, args.seed)
    explained = np.polynomial.Polynomial.fit(log_contrast(tiles), log_error(fine), 2)
    blocks = lambda residual, images: log_error(residual) - explained(log_contrast(images))  # noqa: E731
    finders = {"haze": Finder(600.0, haze, ("default", "global")), "blocks": Finder(100.0, blocks, ("default", "local"))}

    rows, table = [], []
    for name, finder in finders.items():
        score = lambda images, f=finder: f.score(residuals(prior, images, f.timestep, args.seed), images)  # noqa: E731
        scores = finder.score(fine, tiles) if finder.timestep == 100.0 else score(tiles)
        worst = np.argsort(-scores)[: args.worst]
        given = tiles[worst]
        low, middle, high = np.percentile(scores, (5, 50, 95))
        print(f"\n{name}: scores of all tiles {low:.2f} | {middle:.2f} | {high:.2f} (5th, 50th, 95th percentile); the worst:")
        print(", ".join(f"{PurePath(names[chosen[i]]).stem} {scores[i]:.2f}" for i in worst))
        labels = np.array([classes.index(PurePath(names[chosen[i]]).parts[-2]) for i in worst])
        shown, before = [given], opinion(given, labels)
        for preset in finder.presets:
            config = code_jax.preset(preset)
            restored = np.asarray(code_jax.edit(jax.random.key(args.seed), prior, given, config).images)
            shown.append(restored)
            after, colour = opinion(restored, labels), 127.5 * (restored - given).mean((0, 1, 2))
            table.append(
                f"| {name} | {preset} | {scores[worst].mean():.2f} | {score(restored).mean():.2f} | {middle:.2f} "
                f"| {psnr(restored, given).mean():.2f} | {', '.join(f'{value:+.1f}' for value in colour)} "
                f"| {before[0]} → {after[0]} of {len(worst)} | {before[1]:.2f} → {after[1]:.2f} |"
            )
        rows += shown if name == "haze" else [stretched(images, given) for images in shown]
    columns = ("damage", "preset", "score before", "after", "median tile", "PSNR-input", "change of the mean, R G B levels")
    print(f"\n| {' | '.join((*columns, 'class right', 'its probability'))} |")
    print("|---" * 9 + "|\n" + "\n".join(table))
    if args.sheet:
        sheet = Image.fromarray(code_jax.to_uint8(np.concatenate([np.concatenate(row, axis=1) for row in rows])))
        sheet.resize((sheet.width * 2, sheet.height * 2), Image.Resampling.NEAREST).save(args.sheet)


if __name__ == "__main__":
    main()
