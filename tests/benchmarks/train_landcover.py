"""Trains `eurosat-features` on clean tiles (flips and quarter turns, no damage) and says its accuracy on tiles held out.

    python -m tests.benchmarks.train_landcover --data train.zip --out DIR [--epochs 12] [--test test.zip]

A tile's class is the name of its folder. 1 000 tiles, by name hash, are held out.
"""

from __future__ import annotations

import argparse
import time
from pathlib import PurePosixPath

import jax
import jax.numpy as jnp
import numpy as np
import optax

from code_jax.metrics import LandCover, landcover, save_landcover
from code_jax.models.classifier import TileClassifier
from code_jax.training.data import draws, held_out, read_pictures
from code_jax.training.step import augment


def accuracy_of(network: LandCover, pictures: np.ndarray, labels: np.ndarray) -> float:
    """Share of uint8 pictures [N, 64, 64, 3] that are classed as labelled."""
    right = [
        np.argmax(landcover(network, pictures[i : i + 250].astype(np.float32) / 127.5 - 1)[0], -1) == labels[i : i + 250]
        for i in range(0, len(pictures), 250)
    ]
    return float(np.concatenate(right).mean())


def labelled(source: str, classes: tuple[str, ...] = ()) -> tuple[list[str], np.ndarray, np.ndarray, tuple[str, ...]]:
    """Names, pictures, labels and classes of a folder or zip of folders."""
    names, pictures = read_pictures(source, 64)
    folders = [PurePosixPath(name.replace("\\", "/")).parent.name for name in names]
    classes = classes or tuple(sorted(set(folders)))
    return names, pictures, np.array([classes.index(folder) for folder in folders]), classes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--test")
    parser.add_argument("--out", required=True)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    names, pictures, labels, classes = labelled(args.data)
    held = held_out(names, 1000)
    train, truth = pictures[~held], labels[~held]
    model = TileClassifier(classes=len(classes))
    init_key, key = jax.random.split(jax.random.key(args.seed))
    params = jax.jit(model.init)(init_key, jnp.zeros((1, 64, 64, 3)))["params"]
    steps = args.epochs * (len(train) // args.batch_size)
    optimizer = optax.adamw(optax.warmup_cosine_decay_schedule(0, 3e-3, 200, steps), weight_decay=0.02)
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, key, images, labels):
        x = augment(key, images.astype(jnp.float32) / 127.5 - 1, "turns")
        objective = lambda p: optax.softmax_cross_entropy_with_integer_labels(model.apply({"params": p}, x)[0], labels).mean()  # noqa: E731
        value, grads = jax.value_and_grad(objective)(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    begun = time.monotonic()
    for i, (_, indices) in zip(range(steps), draws(args.seed, [1.0], [len(train)], args.batch_size), strict=False):
        params, state, value = step(params, state, jax.random.fold_in(key, i), train[indices], truth[indices])
        if (i + 1) % 200 == 0 or i + 1 == steps:
            network = LandCover(params, model, classes)
            share = accuracy_of(network, pictures[held], labels[held])
            seconds = time.monotonic() - begun
            print(f"step {i + 1} of {steps}, {seconds:.0f} s, loss {value:.3f}, held-out accuracy {share:.4f}", flush=True)
            save_landcover(network, args.out)
    if args.test:
        _, tiles, labels, _ = labelled(args.test, classes)
        print(f"accuracy on {len(tiles)} test tiles: {accuracy_of(network, tiles, labels):.4f}")


if __name__ == "__main__":
    main()
