"""What the features of photographs say of damage: names, distances over severity, the Fréchet distance's floor, and the time.

    python -m tests.benchmarks.photo_features --photos photos/test.zip [--portraits portraits/test.zip] [--names-only]

Photographs are 768×512 or 512×768, for their names; for the rest squares of 64 pixels from their middle at half size.
"""

from __future__ import annotations

import argparse
import io
import time
import zipfile
from collections.abc import Iterator

import numpy as np
from PIL import Image

import code_jax
from code_jax.metrics import (
    PhotoNetwork,
    deep_feature_distance,
    frechet_distance,
    frechet_floor,
    load_photo_directions,
    load_photo_network,
    moments_init,
    moments_update,
    nearest_neighbours,
    photo_classes,
    photo_features,
    project,
)
from code_jax.training.data import read_pictures

SEVERITIES = (1, 3, 5)
KINDS = ("gaussian_noise", "gaussian_blur", "jpeg_compression", "fog", "contrast", "masking_random_color")
STYLES = (".2f", ".3f", ".0%")
BATCH = 8


def photographs(source: str) -> Iterator[tuple[str, Image.Image]]:
    """Names and pictures of a zip."""
    with zipfile.ZipFile(source) as archive:
        for name in sorted((n for n in archive.namelist() if n.endswith(".png")), key=lambda n: (len(n), n)):
            yield name, Image.open(io.BytesIO(archive.read(name))).convert("RGB")


def middle(photo: Image.Image, side: int = 64) -> np.ndarray:
    """The square of this side in the middle of a photograph at half size."""
    half = photo.resize((photo.width // 2, photo.height // 2), Image.Resampling.BOX)
    left, top = (half.width - side) // 2, (half.height - side) // 2
    return np.asarray(half.crop((left, top, left + side, top + side)))


def told(network: PhotoNetwork, photo: Image.Image) -> str:
    """The five classes of a photograph with their probabilities."""
    classes, shares = photo_classes(network, code_jax.from_pil([photo]))
    found = zip(classes[0].tolist(), shares[0].tolist(), strict=True)
    return ", ".join(f"{network.names[i].split(',')[0]} {share:.2f}" for i, share in found)


def in_batches(function, *pictures: np.ndarray) -> np.ndarray:
    """A function of images on uint8 pictures [N, H, W, 3], N a multiple of the batch."""
    rows = range(0, len(pictures[0]), BATCH)
    return np.concatenate([np.asarray(function(*(code_jax.from_uint8(x[i : i + BATCH]) for x in pictures))) for i in rows])


def damage(network: PhotoNetwork, clean: np.ndarray) -> None:
    """Prints what each kind and severity of damage does to the measures."""
    directions, empty = load_photo_directions(), moments_init(64)
    features = in_batches(lambda x: photo_features(network, x), clean)
    flat = np.asarray(project(features, directions))
    reference, half = moments_update(empty, flat), len(clean) // 2
    print(f"{len(clean)} pictures; Fréchet floor {frechet_floor(flat, half):.2f} between random halves of {half}")
    print(
        "kind, then at severities 1, 3, 5: Fréchet distance | deep-feature distance | share whose nearest clean one is their own"
    )
    for kind in KINDS:
        cells = []
        for severity in SEVERITIES:
            damaged = np.stack([code_jax.corrupt(picture, kind, severity, seed=k) for k, picture in enumerate(clean)])
            seen = in_batches(lambda x: photo_features(network, x), damaged)
            far = in_batches(lambda x, y: deep_feature_distance(network, x, y), damaged, clean)
            own = np.mean(np.asarray(nearest_neighbours(seen, features)[0]) == np.arange(len(clean)))
            moved = frechet_distance(moments_update(empty, np.asarray(project(seen, directions))), reference)
            cells.append((moved, far.mean(), own))
        columns = zip(*cells, strict=True)
        told_of = [" ".join(f"{value:{style}}" for value in of) for of, style in zip(columns, STYLES, strict=True)]
        print(f"{kind:22} {' | '.join(told_of)}", flush=True)


def timing(network: PhotoNetwork, pictures: np.ndarray) -> None:
    """Prints milliseconds a picture, by the clock and of the processors: the least of five batches, after one that compiles."""
    x = code_jax.from_uint8(pictures[:BATCH])
    for name, run in (
        ("photo_features", lambda: photo_features(network, x)),
        ("deep_feature_distance", lambda: deep_feature_distance(network, x, x[::-1])),
    ):
        spent = []
        for _ in range(6):
            begun, used = time.perf_counter(), time.process_time()
            run().block_until_ready()
            spent.append((time.perf_counter() - begun, time.process_time() - used))
        clock, processors = np.min(spent[1:], axis=0) / BATCH * 1000
        print(f"{name}: {clock:.1f} ms a picture, {processors:.1f} ms of processors; the first batch {spent[0][0]:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--portraits")
    parser.add_argument("--names-only", action="store_true")
    args = parser.parse_args()
    network, squares = load_photo_network(), []
    for name, photo in photographs(args.photos):
        print(f"{name}: {told(network, photo)}")
        squares.append(middle(photo))
    if args.names_only:
        return
    clean = np.stack(squares[: len(squares) // BATCH * BATCH])
    timing(network, clean)
    damage(network, clean)
    if args.portraits:
        portraits = read_pictures(args.portraits, 64)[1]
        damage(network, portraits[: len(portraits) // BATCH * BATCH][:96])


if __name__ == "__main__":
    main()
