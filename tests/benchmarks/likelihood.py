"""Does CODE raise the likelihood, and is likelier better? Bits per dimension and PSNR of damaged pictures, as a Markdown table.

    python -m tests.benchmarks.likelihood --prior pictures-64 --data portraits-test.zip:whole --data kodak.zip [--pictures 8]

A picture is the centre square of a file at the prior's size (":whole"), or one of four times the prior's side at a quarter of its
scale. Clean, damaged and restored ones get the same noise of σ_0 and the same probes. Fewer bits are likelier. Intervals are of
95 %, of a mean of paired differences over pictures, by Student's t; rank correlations are Spearman's.
"""

from __future__ import annotations

import argparse
import functools
import platform
import time

import jax
import numpy as np
from scipy import stats

import code_jax
from code_jax.cli.runtime import keep_compiled, use_cores
from code_jax.corruptions import picture_seed
from code_jax.editing.keys import digest_of
from code_jax.metrics import psnr
from code_jax.pictures.fitting import fitted, resized
from code_jax.runs.gauge import Gauge
from code_jax.runs.micro_batch import default_micro_batch
from code_jax.training.data import readable

KINDS = (
    "gaussian_noise", "impulse_noise", "gaussian_blur", "motion_blur", "fog", "contrast", "brightness", "pixelate",
    "jpeg_compression", "masking_random_color",
)  # fmt: skip
_SCALE = 4


def pictures_of(source: str, side: int, count: int) -> np.ndarray:
    """uint8 [count, side, side, 3]: of files evenly spaced in their order."""
    path, _, whole = source.partition(":")
    pictures = [pixels for _, pixels in readable(path, 3)]
    found = []
    for i in np.linspace(0, len(pictures) - 1, count).astype(int):
        pixels, inner = pictures[i], _SCALE * side
        top, left = ((length - inner) // 2 for length in pixels.shape[:2])
        cut = pixels[top : top + inner, left : left + inner]
        found.append(fitted(pixels, (side, side, 3), "crop") if whole else resized(cut, (side, side)))
    return np.stack([np.broadcast_to(each, (side, side, 3)) for each in found])


class Bits:
    """Bits per dimension of versions of some pictures, at the noise and with the probes of the clean ones."""

    def __init__(self, prior: code_jax.Prior, clean: np.ndarray, seed: int, **options: int) -> None:
        measure = functools.partial(code_jax.log_likelihood, **options)
        self._gauge = Gauge.on_devices(measure, prior, seed, default_micro_batch(), len(clean))
        self._digests, self.error, self.floor = [digest_of(each) for each in clean], 0.0, 0.0

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Of pixels uint8 [N, H, W, C], [N]."""
        images, size, found = np.asarray(code_jax.from_uint8(pixels)), self._gauge.in_flight, []
        for first in range(0, len(images), size):
            part = self._gauge(self._digests[first : first + size], images[first : first + size])
            found.append(part.bits)
            self.error, self.floor = max(self.error, float(part.standard_error.max())), float(part.floor)
        return np.concatenate(found)


def difference(values: np.ndarray) -> str:
    """A mean and its 95 % interval."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():+.2f} [{values.mean() - half:+.2f}, {values.mean() + half:+.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, action="append", metavar="PATH[:whole]", help="folder or zip of clean pictures")
    parser.add_argument("--prior", default="eurosat-64")
    parser.add_argument("--pictures", type=int, default=8, help="of each source")
    parser.add_argument("--severity", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--ode-steps", type=int, default=8)
    parser.add_argument("--probes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    keep_compiled()
    use_cores()
    begun, prior = time.monotonic(), code_jax.load_prior(args.prior)
    clean = np.concatenate([pictures_of(source, prior.image_shape[0], args.pictures) for source in args.data])
    keys, count = jax.random.split(jax.random.key(args.seed), len(clean)), len(clean)
    bits = Bits(prior, clean, args.seed, num_steps=args.ode_steps, probes=args.probes)
    of_clean = bits(clean)
    print(f"clean: {of_clean.mean():.2f} bits per dimension, noise of σ_0 alone {bits.floor:.2f}\n")
    columns = (
        "corruption",
        "severity",
        "bits damaged less clean",
        "restored less damaged",
        "raised",
        "likelier than clean before",
    )
    print(f"| {' | '.join((*columns, 'dB before', 'gained'))} |\n{'|---' * (len(columns) + 2)}|", flush=True)
    rows = []
    for kind in KINDS:
        for severity in args.severity:
            damaged = np.stack([code_jax.corrupt(each, kind, severity, picture_seed(args.seed, each)) for each in clean])
            restored = code_jax.to_uint8(code_jax.edit(keys, prior, code_jax.from_uint8(damaged)).images)
            before, after = bits(damaged), bits(restored)
            low, high = (np.asarray(psnr(*map(code_jax.from_uint8, (each, clean)))) for each in (damaged, restored))
            rows.append((before, after, low, high))
            print(
                f"| {kind} | {severity} | {difference(before - of_clean)} | {difference(after - before)} "
                f"| {(after < before).sum()} of {count} | {(before < of_clean).sum()} of {count} "
                f"| {low.mean():.2f} | {difference(high - low)} |",
                flush=True,
            )
    before, after, low, high = (np.concatenate(column) for column in zip(*rows, strict=True))
    gained = stats.spearmanr(before - after, high - low).statistic
    level = stats.spearmanr(np.concatenate([before, after]), np.concatenate([low, high])).statistic
    print(f"\nraised in {np.mean(after < before):.0%} of {len(before)}; PSNR gained in {np.mean(high > low):.0%}")
    print(f"rank correlation of bits taken away with dB gained: {gained:+.2f}; of bits with PSNR itself: {level:+.2f}")
    took = f"{time.monotonic() - begun:.0f} s on {platform.machine()}, code_jax {code_jax.__version__}, jax {jax.__version__}"
    steps = f"{args.ode_steps} steps of tsit5, {args.probes} probes, standard error over them at most {bits.error:.3f}"
    print(f"{args.prior}, {count} pictures, {steps}, seed {args.seed}; {took}")


if __name__ == "__main__":
    main()
