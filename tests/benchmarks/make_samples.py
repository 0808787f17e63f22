"""Makes the bundled samples: eight crops of Kodak's photographs, two of them aligned heads, clean and damaged in a way of each.

    python -m tests.benchmarks.make_samples KODAK [OUT]

KODAK is a folder of the Kodak Lossless True Color Image Suite, as ``kodim01.png`` or ``1.png``. A head is turned and scaled until
its eyes are where those of the prior's portraits are, and cut so that the face fills the picture as theirs do.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import code_jax

SIDE = 64
BUNDLE = Path(code_jax.__file__).parent / "priors" / "samples"
_EYES_DOWN, _WIDTH = 0.448, 3.3  # where the eyes are of a portrait's height, and its width in distances between the eyes


def square(left: int, top: int, side: int) -> Callable[[Image.Image], Image.Image]:
    """A square of a photograph."""
    return lambda photo: photo.resize((SIDE, SIDE), Image.Resampling.LANCZOS, (left, top, left + side, top + side))


def head(left_eye: tuple[int, int], right_eye: tuple[int, int], mouth: tuple[int, int]) -> Callable[[Image.Image], Image.Image]:
    """An upright head, whose axis is the mean of the eyes' and the mouth's direction."""
    eyes, lips = np.array([left_eye, right_eye], float), np.array(mouth, float)
    middle, across = eyes.mean(0), eyes[1] - eyes[0]
    down = lips - middle
    angle = (np.arctan2(across[1], across[0]) + np.arctan2(-down[0], down[1])) / 2
    right, below = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    width = _WIDTH * np.hypot(*across)
    corners = [middle + width * (x * right + (y - _EYES_DOWN) * below) for x, y in ((-0.5, 0), (-0.5, 1), (0.5, 1), (0.5, 0))]
    many = 8 * SIDE  # sampled finely, then reduced: no aliases

    def cut(photo: Image.Image) -> Image.Image:
        turned = photo.transform((many, many), Image.Transform.QUAD, np.ravel(corners).tolist(), Image.Resampling.BICUBIC)
        return turned.resize((SIDE, SIDE), Image.Resampling.LANCZOS)

    return cut


def scratches(clean: np.ndarray, seed: int) -> np.ndarray:
    """Three bent white lines, as of a print that was carried in a pocket."""
    rng, many = np.random.default_rng(seed), 4
    picture = Image.fromarray(clean).resize((SIDE * many, SIDE * many), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(picture)
    for x in (0.28, 0.52, 0.8):
        line = np.stack([x + np.cumsum(rng.normal(0, 0.02, 7)), np.linspace(-0.05, rng.uniform(0.8, 1.05), 7)], axis=1)
        draw.line([tuple(point) for point in line * SIDE * many], "#f0ece0", width=int(many * 1.3), joint="curve")
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX))


def missing_block(clean: np.ndarray, seed: int) -> np.ndarray:
    """A grey square where a part of the file was lost."""
    damaged = clean.copy()
    damaged[26:42, 30:46] = 128
    return damaged


def _corrupted(name: str, severity: int) -> Callable[[np.ndarray, int], np.ndarray]:
    return lambda clean, seed: code_jax.corrupt(clean, name, severity, seed)


SAMPLES = {  # photograph, what of it, damage
    "noise": (18, head((278, 201), (301, 202), (289, 227)), _corrupted("gaussian_noise", 2)),
    "scratches": (4, head((227, 328), (347, 352), (255, 485)), scratches),
    "blur": (1, square(340, 240, 256), _corrupted("gaussian_blur", 5)),
    "jpeg": (23, square(400, 90, 320), _corrupted("jpeg_compression", 1)),
    "missing_block": (3, square(70, 60, 256), missing_block),
    "fog": (21, square(270, 60, 300), _corrupted("fog", 2)),
    "low_contrast": (20, square(50, 40, 448), _corrupted("contrast", 2)),
    "speckle": (9, square(50, 100, 448), _corrupted("speckle_noise", 1)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kodak", type=Path)
    parser.add_argument("out", type=Path, nargs="?", default=BUNDLE)
    args = parser.parse_args()
    (args.out / "clean").mkdir(parents=True, exist_ok=True)
    for name, (number, cut, damage) in SAMPLES.items():
        path = next(path for path in (args.kodak / f"kodim{number:02}.png", args.kodak / f"{number}.png") if path.exists())
        clean = cut(Image.open(path).convert("RGB"))
        clean.save(args.out / "clean" / f"{name}.png", optimize=True)
        Image.fromarray(damage(np.asarray(clean), number)).save(args.out / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
