"""Mutates pictures and archives and reads them as every command but `restore`, masks and `from_pil` do.

    python -m tests.benchmarks.pictures_fuzz [--files 2000] [--archives 200] [--seed 0] [--folder DIR]

Each must be read, or refused in words. All are read by `info`, `corrupt` and the readers of the other commands; one in ten by
`sweep`, `likelihood` and `statistics`, with an exact prior, and by `train`, for which one picture is too few; one in twenty by
`calibrate`, among sound ones; and one in fifty by `evaluate` itself.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from code_jax import UserError, from_pil
from code_jax.evaluation.pool import read_pool
from code_jax.pictures.files import read_mask
from code_jax.pictures.loading import PictureError
from code_jax.pictures.provenance import exif_with, png_text
from tests.benchmarks.batch_fuzz import mutated
from tests.benchmarks.watch import Watch, cache_in, with_prior
from tests.runs.conftest import FAST, exact_prior, make_pictures
from tests.runs.corpus import corpus, encoded, scene


def _read(watch: Watch, what: str, read: Callable[[], object]) -> None:
    """An input that is read, or refused in a line."""
    with watch.input(what), contextlib.redirect_stderr(io.StringIO()):
        try:
            read()
            watch.ends[f"{what} read"] += 1
        except (PictureError, UserError) as error:
            assert str(error).isprintable() and str(error), "a reason of one line"
            watch.ends[f"{what} refused"] += 1


def _pil(path: Path) -> object:
    try:
        picture = Image.open(path, formats=["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF"])
    except Exception:  # Pillow's own refusal, before from_pil is asked
        return None
    return from_pil(picture)


def _measured(watch: Watch, path: Path, folder: Path, sound: Path, prior: Any, calibrated: bool, **limit: float) -> None:
    """By the commands that ask a prior, as the only picture, and among sound ones."""
    with with_prior(prior):
        watch.command("sweep", "sweep", str(path), "--out", str(folder / f"swept-{path.name}"), *FAST, **limit)
        watch.command("likelihood", "likelihood", str(path), "--ode-steps", "2", "--batch-size", "1", **limit)
        watch.command("statistics", "statistics", str(path), "--batch-size", "1", **limit)
        if calibrated:
            words = ("--out", str(folder / "calibration.json"), "--num-steps", "2", "--batch-size", "16")
            watch.command("calibrate", "calibrate", "exact", str(sound), str(path.parent), *words, **limit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--archives", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where to work; a temporary one by default")
    args = parser.parse_args()
    originals, rng = corpus(), np.random.default_rng(args.seed)
    for ending, kind in {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "tif": "TIFF", "bmp": "BMP", "gif": "GIF"}.items():
        originals[f"large.{ending}"] = encoded(scene(size=(64, 48)), kind)  # which `corrupt` takes
    settings = {"prior": "eurosat-64", "fit": "resize", "depth": [0.5, 0.2], "eta": "none"}
    facts = {"settings": settings, "input_hash": "0" * 64, "seed": 3, "sample": 1, "micro_batch": 2, "size": [8, 8]}
    originals |= {
        "facts.png": encoded(scene(), "PNG", pnginfo=png_text(facts)),
        "facts.jpg": encoded(scene(), "JPEG", exif=exif_with(facts)),
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in originals.items():
            archive.writestr(f"sub/{name}", data)
    with tempfile.TemporaryDirectory(dir=args.folder) as work, cache_in(Path(work)):
        folder, one, watch = Path(work), Path(work) / "one", Watch(Path(work))
        one.mkdir()
        (folder / "sound.png").write_bytes(encoded(scene(size=(64, 64)), "PNG"))
        corrupt = ("--corruption", "contrast", "--out")
        evaluate = ("evaluate", "--corruptions", "contrast", "--methods", "inputs", "--protocol", "oracle")
        evaluate += ("--images", "1", "--bootstrap", "0")
        watch.command("first", "corrupt", str(folder / "sound.png"), *corrupt, str(folder / "warm"), limit=600)  # which compile
        watch.command("first", *evaluate, "--data", str(folder / "warm"), "--out", str(folder / "table"), limit=600)
        sound, prior = make_pictures(folder / "sound", 31), exact_prior()
        _measured(watch, sound / "p00.png", folder, sound, prior, True, limit=600)
        for i in range(args.files):
            name = list(originals)[rng.integers(len(originals))]
            path = one / f"{i:05}-{name}"
            path.write_bytes(mutated(originals[name], rng)[1])
            with with_prior(prior):
                watch.command("info", "info", str(path))
            watch.command("corrupt", "corrupt", str(path), *corrupt, str(folder / f"out{i}"))
            if i % 50 == 0:
                watch.command("evaluate", *evaluate, "--data", str(one), "--out", str(folder / f"table{i}"))
            if i % 10 == 0:
                watch.command("train", "train", "--data", str(one), "--out", str(folder / f"train{i}"))
                _measured(watch, path, folder, sound, prior, i % 20 == 0)
            _read(watch, "data", lambda: read_pool(one, 16, ()))
            _read(watch, "mask", lambda path=path: read_mask(path, (16, 16, 3), "resize"))
            _read(watch, "from_pil", lambda path=path: _pil(path))
            path.unlink()
        for _ in range(args.archives):
            (folder / "a.zip").write_bytes(mutated(packed.getvalue(), rng)[1])
            _read(watch, "archive", lambda: read_pool(folder / "a.zip", 16, ()))
        nothing = watch.report()
    print(f"{args.files} mutated files, {args.archives} archives")
    sys.exit(not nothing)


if __name__ == "__main__":
    main()
