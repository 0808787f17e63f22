"""Fits the principal directions that the Fréchet distance of photographs is taken in, on clean training-side pictures.

    python -m tests.benchmarks.fit_directions --portraits portraits/train.zip --photos photos/train.zip [--count 4400] [--out DIR]

Half of the pictures are portraits, shrunk to 64×64; half are patches of that size of photographs at full, half and quarter size.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import safetensors.numpy
from PIL import Image

import code_jax
from code_jax.metrics import load_photo_network, moments_init, moments_update, photo_features, principal_directions
from code_jax.metrics.efficientnet import FEATURES
from code_jax.metrics.photo import FOLDER
from code_jax.training.data import read_pictures

SIDE, BATCH = 64, 32


def patches(photos: np.ndarray, count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """`count` patches uint8 [64, 64, 3] of square photographs in turn, at full, half and quarter size in turn."""
    rng = np.random.default_rng(seed)
    for k in range(count):
        photo, side = Image.fromarray(photos[k % len(photos)]), photos.shape[1] >> (k // len(photos) % 3)
        left, top = rng.integers(0, side - SIDE + 1, 2)
        shrunk = photo.resize((side, side), Image.Resampling.BOX)
        yield np.asarray(shrunk.crop((left, top, left + SIDE, top + SIDE)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", required=True)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--count", type=int, default=4400, help="of each kind")
    parser.add_argument("--out", type=Path, default=Path(str(FOLDER)))
    args = parser.parse_args()
    portraits = read_pictures(args.portraits, SIDE)[1]
    chosen = np.random.default_rng(0).permutation(len(portraits))[: args.count]
    pictures = np.concatenate([portraits[chosen], np.stack(list(patches(read_pictures(args.photos, 512)[1], args.count)))])
    network, moments = load_photo_network(), moments_init(FEATURES)
    for i in range(0, len(pictures), BATCH):
        moments = moments_update(moments, photo_features(network, code_jax.from_uint8(pictures[i : i + BATCH])))
    found = principal_directions(moments)
    share = np.trace(found.basis.T @ moments.scatter @ found.basis) / np.trace(moments.scatter)
    print(f"{int(moments.number)} pictures; {found.basis.shape[1]} directions hold {share:.1%} of the variance")
    state = {"mean": np.float32(found.mean), "basis": np.ascontiguousarray(found.basis, np.float32)}
    safetensors.numpy.save_file(state, args.out / "directions.safetensors")


if __name__ == "__main__":
    main()
