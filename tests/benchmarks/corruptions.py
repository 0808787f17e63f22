"""The corruptions beside those of the published program (severity 5): PSNR, spectrum of what was added, means, deviations.

    python -m tests.benchmarks.corruptions --examples FOLDER [--sheet sheet.png]

FOLDER/NAME holds original.png and corrupted.png. Spectrum: the mean over radii of |log10 ours − log10 theirs|, of the
radial power spectra of corrupted − original. Means and deviations: the largest difference of a channel's, of 255.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from code_jax.corruptions import ALL_NAMES, corrupt
from code_jax.pictures.contact_sheet import contact_sheet

_FOLDERS = {
    "gaussian_blur": "gauss",
    "pinch_and_twirl": "pinch",
    "water_drop": "water",
    "fish_eye": "fisheye",
    "concentric_sine_waves": "concentric_sine",
    "transverse_chromatic_aberration": "transverse_chromatic_abberation",
}


def log_spectrum(added: np.ndarray) -> np.ndarray:
    """log10 of the mean power at each whole radius below the Nyquist frequency, of [H, W, 3]."""
    height, width, _ = added.shape
    power = (np.abs(np.fft.fft2(added, axes=(0, 1))) ** 2).mean(-1)
    fy, fx = np.fft.fftfreq(height)[:, None] * height, np.fft.fftfreq(width)[None] * width
    radius = np.round(np.hypot(fy, fx)).astype(int)
    sums, counts = np.bincount(radius.ravel(), power.ravel()), np.bincount(radius.ravel())
    return np.log10((sums / counts)[: min(height, width) // 2] + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=Path, required=True)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rows = []
    print("| corruption | PSNR to theirs | spectrum | mean | deviation |\n|---|---|---|---|---|")
    for name in ALL_NAMES:
        folder = args.examples / _FOLDERS.get(name, name)
        if not folder.is_dir():
            print(f"| {name} | no example | | | |")
            continue
        clean, theirs = (np.asarray(Image.open(folder / f"{part}.png").convert("RGB")) for part in ("original", "corrupted"))
        ours = corrupt(clean, name, 5, args.seed)
        a, b, c = (picture.astype(float) for picture in (ours, theirs, clean))
        psnr = 10 * np.log10(255**2 / max(np.mean((a - b) ** 2), 1e-3))
        apart = np.mean(np.abs(log_spectrum(a - c) - log_spectrum(b - c)))
        mean, deviation = (np.abs(np.subtract(f(a, (0, 1)), f(b, (0, 1)))).max() for f in (np.mean, np.std))
        print(f"| {name} | {psnr:.1f} dB | {apart:.2f} | {mean:.1f} | {deviation:.1f} |")
        rows.append((name, [clean, theirs, ours], [""] * 3))
    if args.sheet:
        contact_sheet(["clean", "theirs", "ours"], rows).save(args.sheet)


if __name__ == "__main__":
    main()
