"""What settings make of what a mask covers, scratches and a block, on held-out pictures of a prior's training.

    python -m tests.benchmarks.filling --data train.zip [--prior pictures-64] [--pictures 16] [PRESET | SIGMA:STEP:STEPS:ETA …]

PSNR to the clean source of the covered pixels alone, and how much it is above that of the damaged ones, with a 95 % interval of a
bootstrap over pictures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax
import numpy as np

import code_jax
from code_jax.cli.runtime import use_cores
from code_jax.evaluation.pool import read_pool
from code_jax.priors import DEFAULT


def damaged(clean: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A picture uint8 [H, W, C] with three white scratches or a grey block, and where that is, bool [H, W]."""
    height, width = clean.shape[:2]
    mask = np.zeros((height, width), bool)
    if rng.integers(2):
        for across in rng.uniform(0.1, 0.9, 3) * width:
            drift = np.cumsum(rng.normal(0, 0.5, height))
            for offset in (0, 1):
                mask[np.arange(height), np.clip(across + drift + offset, 0, width - 1).astype(int)] = True
        return np.where(mask[..., None], np.uint8(240), clean), mask
    top, left = rng.integers(0, height * 3 // 4, 2)
    mask[top : top + height // 4, left : left + width // 4] = True
    return np.where(mask[..., None], np.uint8(128), clean), mask


def settings_of(word: str) -> code_jax.EditConfig:
    """Of a preset, or of σ, r, steps and η."""
    if ":" not in word:
        return code_jax.preset(word)
    sigma, step, steps, eta = map(float, word.split(":"))
    config = code_jax.preset("default").replace(sigma=sigma, relative_step=step, eta=eta)
    return config.with_program(langevin_steps=int(steps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", default=["default", "global", "fill"])
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--prior", default=DEFAULT)
    parser.add_argument("--pictures", type=int, default=16)
    args = parser.parse_args()
    use_cores()
    prior, rng = code_jax.load_prior(args.prior), np.random.default_rng(0)
    clean = read_pool(args.data, prior.image_shape[0], [], args.pictures).pixels
    pictures, masks = map(np.stack, zip(*(damaged(each, rng) for each in clean), strict=True))
    before = _psnr(pictures, clean, masks)
    print(f"damaged: {before.mean():.2f} dB in the mask, of {len(clean)} pictures")
    print("| setting | PSNR in the mask, dB | above the damaged | NFE |\n|---|---|---|---|")
    draws = rng.integers(0, len(clean), (1000, len(clean)))
    for word in args.words:
        result = code_jax.edit(jax.random.key(0), prior, code_jax.from_uint8(pictures), settings_of(word), masks)
        after = _psnr(np.asarray(code_jax.to_uint8(result.images)), clean, masks)
        low, high = np.quantile((after - before)[draws].mean(axis=1), (0.025, 0.975))
        gain = f"{(after - before).mean():+.2f} [{low:+.2f}, {high:+.2f}]"
        print(f"| {word} | {after.mean():.2f} | {gain} | {int(result.info.nfe[0])} |", flush=True)


def _psnr(pictures: np.ndarray, clean: np.ndarray, masks: np.ndarray) -> np.ndarray:
    squared = (pictures.astype(float) - clean) ** 2
    return np.array([10 * np.log10(255**2 / error[mask].mean()) for error, mask in zip(squared, masks, strict=True)])


if __name__ == "__main__":
    main()
