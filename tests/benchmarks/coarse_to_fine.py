"""What restoring coarse to fine gains over tiles alone, on crops of photographs damaged in ways that people know.

    python -m tests.benchmarks.coarse_to_fine --data kodak.zip [--prior pictures-64] [--crops 128:16,256:3] [--sheet sheet.png]

Crops are the middles of the pictures, in the order of their names, half of them at half size. Both are restored blind by
`code_jax.restore` with the same preset and seed, fit "tile" and fit "pyramid". PSNR and the deep-feature distance are to the
clean crop; the difference is a mean over crops, with the 95 % interval of a paired bootstrap (Efron & Tibshirani 1993).

With --shares A,B,… the share of the noise level at the finer levels is what is compared, of pictures that no table is made of.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from PIL import Image

import code_jax
from code_jax.cli.runtime import keep_compiled, use_cores
from code_jax.editing import pyramid
from code_jax.metrics import PhotoNetwork, deep_feature_distance, load_photo_network, psnr
from code_jax.training.data import readable

DAMAGES = {
    "fog": ("fog", 4),
    "contrast": ("contrast", 3),
    "blur": ("gaussian_blur", 3),
    "noise": ("gaussian_noise", 3),
    "JPEG": ("jpeg_compression", 4),
    "mask": ("masking_random_color", 3),
}
RESAMPLES = 2000
MEASURES = {"PSNR, dB": ".2f", "deep-feature distance": ".4f"}


def crops(data: str, side: int, count: int) -> list[np.ndarray]:
    """The middle of each picture, uint8 [side, side, 3], every second one at half size."""
    made = []
    for number, (_, pixels) in zip(range(count), readable(data, 3), strict=False):
        picture = Image.fromarray(pixels)
        if number % 2:
            picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        made.append(np.asarray(picture.crop((left, top, left + side, top + side))))
    return made


def measured(network: PhotoNetwork, pictures: Sequence[np.ndarray], clean: Sequence[np.ndarray]) -> np.ndarray:
    """The measures of pictures to their clean ones, [measure, picture]."""
    pairs = [(code_jax.from_uint8(a[None]), code_jax.from_uint8(b[None])) for a, b in zip(pictures, clean, strict=True)]
    return np.array([[float(psnr(a, b)[0]), float(deep_feature_distance(network, a, b)[0])] for a, b in pairs]).T


def gained(one: np.ndarray, other: np.ndarray, style: str) -> str:
    """The mean of `other` − `one` over pictures, with its interval."""
    difference, rng = other - one, np.random.default_rng(0)
    low, high = np.quantile(difference[rng.integers(0, len(one), (RESAMPLES, len(one)))].mean(1), (0.025, 0.975))
    return f"{difference.mean():+{style}} [{low:+{style}}, {high:+{style}}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder or zip of photographs")
    parser.add_argument("--prior", default="pictures-64")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--crops", default="128:16,256:3", metavar="SIDE:COUNT,…")
    parser.add_argument("--damages", default=",".join(DAMAGES), metavar="NAME,…")
    parser.add_argument("--shares", type=lambda text: [float(part) for part in text.split(",")], default=[])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path, help="write inputs, both results and clean crops here, at true size")
    args = parser.parse_args()
    keep_compiled()
    use_cores()
    prior, network, settings = code_jax.load_prior(args.prior), load_photo_network(), code_jax.preset(args.preset)
    rows = {"tile": ("tile", pyramid.SHARE)} | {
        f"pyramid {share}": ("pyramid", share) for share in args.shares or [pyramid.SHARE]
    }
    print(f"{args.prior}, preset {args.preset}, seed {args.seed}, {platform.machine()}, jax {jax.__version__}")
    print("| damage | side | input | " + " | ".join(f"{row} | gain" for row in list(rows)) + " |")
    begun, lines = time.monotonic(), []
    for side, count in (map(int, part.split(":")) for part in args.crops.split(",")):
        clean = crops(args.data, side, count)
        for damage in args.damages.split(","):
            name, severity = DAMAGES[damage]
            given = [code_jax.corrupt(picture, name, severity, seed=k) for k, picture in enumerate(clean)]
            made = {}
            for row, (fit, share) in rows.items():
                pyramid.SHARE = share
                made[row] = [
                    np.asarray(each) for each in code_jax.restore(given, prior, settings, fit=fit, seed=args.seed).pictures
                ]
            found = {row: measured(network, pictures, clean) for row, pictures in ({"input": given} | made).items()}
            for k, (measure, style) in enumerate(MEASURES.items()):
                cells = [f"{found['input'][k].mean():{style}}"]
                for row in rows:
                    cells += [f"{found[row][k].mean():{style}}", gained(found["tile"][k], found[row][k], style)]
                print(f"| {damage}, {measure} | {side} × {len(clean)} | " + " | ".join(cells) + " |", flush=True)
            lines.append(np.concatenate([np.concatenate([given[0], *(made[row][0] for row in rows), clean[0]], axis=1)], axis=0))
    print(f"{time.monotonic() - begun:.0f} s")
    if args.sheet:
        width = max(line.shape[1] for line in lines)
        padded = [np.pad(line, ((0, 4), (0, width - line.shape[1]), (0, 0)), constant_values=255) for line in lines]
        Image.fromarray(np.concatenate(padded)).save(args.sheet)


if __name__ == "__main__":
    main()
