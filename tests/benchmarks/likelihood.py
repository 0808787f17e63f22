"""Does CODE raise the likelihood, and is likelier better? Bits per dimension and PSNR of damaged crops, as a Markdown table.

    python -m tests.benchmarks.likelihood --data kodak.zip --prior P [--crops 8] [--ode-steps 30] [--probes 2]

A crop is the centre of a picture, of four times the prior's side, at a quarter of its scale. Clean, damaged and restored ones get
the same noise of σ_0. Fewer bits are likelier. The rank correlations are Spearman's.
"""

from __future__ import annotations

import argparse
import platform
import time

import jax
import numpy as np
from scipy.stats import spearmanr

import code_jax
from code_jax.corruptions import picture_seed
from code_jax.metrics import psnr
from code_jax.pictures.fitting import resized
from code_jax.training.data import readable

KINDS = (
    "gaussian_noise", "impulse_noise", "gaussian_blur", "motion_blur", "fog", "contrast", "brightness", "pixelate",
    "jpeg_compression", "masking_random_color",
)  # fmt: skip
_SCALE = 4


def crops(source: str, side: int, count: int) -> np.ndarray:
    """uint8 [count, side, side, 3]: centres of pictures, evenly spaced in their order."""
    pictures = [pixels for _, pixels in readable(source, 3)]
    chosen = [pictures[i] for i in np.linspace(0, len(pictures) - 1, count).astype(int)]
    centres = []
    for pixels in chosen:
        top, left = ((length - _SCALE * side) // 2 for length in pixels.shape[:2])
        centres.append(resized(pixels[top : top + _SCALE * side, left : left + _SCALE * side], (side, side)))
    return np.stack(centres)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder or zip of clean pictures")
    parser.add_argument("--prior", default="eurosat-64")
    parser.add_argument("--crops", type=int, default=8)
    parser.add_argument("--severity", type=int, default=3)
    parser.add_argument("--ode-steps", type=int, default=30)
    parser.add_argument("--probes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    begun, prior = time.monotonic(), code_jax.load_prior(args.prior)
    clean = crops(args.data, prior.image_shape[0], args.crops)
    keys = jax.random.split(jax.random.key(args.seed), args.crops)
    errors: list[np.ndarray] = []

    def bits(pixels: np.ndarray) -> np.ndarray:
        found = code_jax.log_likelihood(
            keys, prior, code_jax.from_uint8(pixels), num_steps=args.ode_steps, probes=args.probes
        )  # fmt: skip
        errors.append(np.asarray(found.standard_error))
        floor[:] = found.floor
        return np.asarray(found.bits)

    floor = np.zeros(1)
    of_clean = bits(clean)
    print("| corruption | bits clean | damaged | restored | raised by CODE | damaged likelier than clean | dB before | after |")
    print("|---" * 8 + "|", flush=True)
    rows = []
    for kind in KINDS:
        damaged = np.stack([code_jax.corrupt(each, kind, args.severity, picture_seed(args.seed, each)) for each in clean])
        result = code_jax.edit(jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys), prior, code_jax.from_uint8(damaged))
        restored = code_jax.to_uint8(result.images)
        before, after = bits(damaged), bits(restored)
        decibels = [np.asarray(psnr(*map(code_jax.from_uint8, (each, clean)))) for each in (damaged, restored)]
        rows.append((before, after, *decibels))
        raised, smoother = (after < before).sum(), (before < of_clean).sum()
        print(
            f"| {kind} | {of_clean.mean():.2f} | {before.mean():.2f} | {after.mean():.2f} | {raised} of {args.crops} "
            f"| {smoother} of {args.crops} | {decibels[0].mean():.2f} | {decibels[1].mean():.2f} |",
            flush=True,
        )
    before, after, low, high = (np.concatenate(column) for column in zip(*rows, strict=True))
    gained = spearmanr(before - after, high - low).statistic
    level = spearmanr(np.concatenate([before, after]), np.concatenate([low, high])).statistic
    print(f"\nraised in {np.mean(after < before):.0%} of {len(before)}; PSNR gained in {np.mean(high > low):.0%}")
    print(f"rank correlation of bits taken away with dB gained: {gained:+.2f}; of bits with PSNR itself: {level:+.2f}")
    print(f"standard error over probes at most {np.max(errors):.3f}; the noise alone has {floor[0]:.2f} bits")
    took = f"{time.monotonic() - begun:.0f} s on {platform.machine()}, jax {jax.__version__}"
    print(f"{args.prior}, severity {args.severity}, {args.ode_steps} steps of tsit5, {args.probes} probes; {took}")


if __name__ == "__main__":
    main()
