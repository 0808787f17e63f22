"""Quality against network evaluations: the published schedule beside this package's, on ten varied corruptions of held-out tiles.

    python -m tests.benchmarks.nfe_curve --data train.zip --cache FOLDER [--tiles 8] [--severity 3] [--points default,published]

Tiles are those held out of the bundled prior's training by name hash, never test tiles, and others for each corruption. A point's
restored tiles are kept in the cache folder, corruption by corruption: a run that was stopped goes on, and a further point costs
only itself. Reported are the Fréchet distance in the bundled classifier's features, of a point's tiles under all corruptions
together to the held-out tiles that were not damaged, and PSNR to the input; with 90 % intervals of the difference to the
published schedule in full, over 400 resamplings of each corruption's tiles, the same for both. Few tiles bias every distance
alike: compare distances of one run.

`published` is the published program with its notebook's settings (`code_jax.official`), quirks included; `published/k` has a k-th
of its steps of either kind, and k times its step size.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path

import jax
import numpy as np
from code_jax.editing.config import canonical
from code_jax.editing.method import Settings, number_of_moves
from code_jax.editing.official import OfficialSettings

import code_jax
from code_jax.bench.measure import spread
from code_jax.cli import official, restore
from code_jax.cli.runtime import use_cores
from code_jax.editing.edit import image_keys
from code_jax.metrics import frechet_distance, landcover, load_landcover, moments_init, moments_update, psnr
from code_jax.priors.hash import prior_hash
from code_jax.training.data import held_out, read_pictures

CORRUPTIONS = (
    "gaussian_noise", "impulse_noise", "gaussian_blur", "motion_blur", "fog", "contrast", "jpeg_compression", "pixelate",
    "masking_random_color", "caustic_refraction",
)  # fmt: skip
MICRO_BATCH, RESAMPLINGS = 8, 400


def published(share: int) -> OfficialSettings:
    """A share of the published schedule's evaluations."""
    steps, corrections = 200 // share, max(250 // share, 4)
    return OfficialSettings(steps, steps, (max(20 // share, 1),), corrections, step_size=share * 1.15e-5)


def points(schedule: code_jax.NoiseSchedule) -> dict[str, Settings]:
    """Settings by name."""
    found: dict[str, Settings] = {"published": published(1)} | {f"published/{share}": published(share) for share in (2, 4, 8, 16)}
    for name in ("local", "default", "global"):
        found[name] = config = code_jax.preset(name, schedule)
        for share, times in (("/4", 1 / 4), ("/2", 1 / 2), ("×2", 2), ("×4", 4)):
            counts = {"num_steps": round(10 * times), "langevin_steps": round(config.program.langevin_steps * times)}
            size = config.step_size / times
            found[name + share] = config.replace(step_size=size).with_program(**counts)
    return found


def point_of(name: str, schedule: code_jax.NoiseSchedule) -> Settings:
    """The settings of a name in `points`, or of depth:h/(1 − ᾱ):Langevin steps."""
    if ":" not in name:
        return points(schedule)[name]
    depth, relative_step, steps = name.split(":")
    config = code_jax.preset("default", schedule, float(depth), float(relative_step))
    return config.with_program(langevin_steps=int(steps))


def restored(prior: code_jax.Prior, given: np.ndarray, settings: Settings, cache: Path, weights: str) -> np.ndarray:
    """The restored tiles uint8, from the cache where they are."""
    is_published = isinstance(settings, OfficialSettings)
    described = official.describe(settings) if is_published else restore.describe(canonical(settings))
    facts = json.dumps([described, weights, MICRO_BATCH]).encode()
    path = cache / f"{hashlib.sha256(facts + given.tobytes()).hexdigest()[:32]}.npy"
    if not path.exists():
        padded = np.resize(given, (-(-len(given) // MICRO_BATCH) * MICRO_BATCH, *given.shape[1:]))
        images = []
        for first in range(0, len(given), MICRO_BATCH):
            batch = code_jax.from_uint8(padded[first : first + MICRO_BATCH])
            everywhere, shared = spread(prior, MICRO_BATCH)
            keys, batch = jax.device_put((image_keys(jax.random.key(first), batch), batch), shared)
            run = code_jax.official if is_published else code_jax.edit
            images.append(code_jax.to_uint8(run(keys, everywhere, batch, settings).images))
        np.save(path.with_suffix(".part.npy"), np.concatenate(images)[: len(given)])
        path.with_suffix(".part.npy").rename(path)
    return np.load(path)


def features(images: np.ndarray) -> np.ndarray:
    """The bundled classifier's features [B, 64]."""
    return np.asarray(landcover(load_landcover(), code_jax.from_uint8(images))[1])


def distance(some: np.ndarray, reference: code_jax.metrics.Moments) -> float:
    """The Fréchet distance of features [..., 64], all together."""
    return frechet_distance(moments_update(moments_init(64), some.reshape(-1, 64)), reference)


def damaged_tiles(data: str, side: int, count: int, severity: int) -> tuple[np.ndarray, np.ndarray, code_jax.metrics.Moments]:
    """Held-out tiles, `count` a corruption, and their damaged copies, [corruption, tile, ...]; the moments of the others."""
    names, pictures = read_pictures(data, side)
    held = np.random.default_rng(0).permutation(pictures[held_out(names, 1000)])  # in the archive they are sorted by class
    total = count * len(CORRUPTIONS)
    clean = held[:total].reshape(len(CORRUPTIONS), count, *held.shape[1:])
    damaged = [
        np.stack([code_jax.corrupt(tile, name, severity, seed) for seed, tile in enumerate(tiles)])
        for name, tiles in zip(CORRUPTIONS, clean, strict=True)
    ]
    return clean, np.stack(damaged), moments_update(moments_init(64), features(held[total:]))


def interval(values: list[float]) -> str:
    low, high = np.quantile(values, [0.05, 0.95])
    return f"{low:+.2f} to {high:+.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder or zip of the tiles that the prior was trained on")
    parser.add_argument("--cache", required=True, type=Path)
    parser.add_argument("--prior", default="eurosat-64")
    parser.add_argument("--tiles", type=int, default=8)
    parser.add_argument("--severity", type=int, default=3)
    parser.add_argument("--points", help="names, or depth:h/(1 - abar):steps, between commas; all compare with the first")
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    use_cores()
    prior = code_jax.load_prior(args.prior)
    weights = prior_hash(prior)
    _, given, reference = damaged_tiles(args.data, prior.image_shape[0], args.tiles, args.severity)
    rows = np.arange(len(CORRUPTIONS))[:, None]
    draws = np.random.default_rng(0).integers(0, args.tiles, (RESAMPLINGS, len(CORRUPTIONS), args.tiles))

    def judge(made: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Features and PSNR to the input, [corruption, tile, ...]."""
        fidelity = [psnr(code_jax.from_uint8(a), code_jax.from_uint8(b)) for a, b in zip(made, given, strict=True)]
        return np.stack([features(images) for images in made]), np.stack(fidelity)

    before = judge(given)[0]
    print(f"{args.tiles} tiles for each corruption, severity {args.severity}; "
          f"Fréchet distance of the inputs {distance(before, reference):.2f}\n")  # fmt: skip
    columns = "point", "NFE", "Fréchet distance", "difference, 90 %", "PSNR-input, dB", "difference, 90 %", "s"
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    base: tuple[list[float], np.ndarray] | None = None
    for name in args.points.split(",") if args.points else points(prior.schedule):
        settings = point_of(name, prior.schedule)
        begun = time.monotonic()
        found, fidelity = judge([restored(prior, images, settings, args.cache, weights) for images in given])
        resampled = [distance(found[rows, draw], reference) for draw in draws]
        base = base or (resampled, fidelity)
        nearer = [float((fidelity - base[1])[rows, draw].mean()) for draw in draws]
        differences = interval([a - b for a, b in zip(resampled, base[0], strict=True)]), interval(nearer)
        nfe, seconds = number_of_moves(settings)[1], time.monotonic() - begun
        print(f"| {name} | {nfe} | {distance(found, reference):.2f} | {differences[0]} | {fidelity.mean():.2f} "
              f"| {differences[1]} | {seconds:.0f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
