"""Mutates pictures and archives and reads them as `info`, `corrupt`, `train`, `evaluate`, masks and `from_pil` do.

    python -m tests.benchmarks.pictures_fuzz [--files 2000] [--archives 200] [--seed 0] [--folder DIR]

Each must be read, or refused in words. Counted are tracebacks, files that take more than 10 seconds of computing, processes
started, files written outside of the folder, and the peak of memory.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from code_jax import UserError, from_pil
from code_jax.cli.main import main as code_jax
from code_jax.pictures.files import read_mask
from code_jax.pictures.loading import PictureError
from code_jax.pictures.provenance import exif_with, png_text
from code_jax.training.data import read_pictures
from tests.benchmarks.batch_fuzz import mutated
from tests.benchmarks.watch import LIMIT, Hang, Watch
from tests.runs.corpus import corpus, encoded, scene


def _command(*words: str) -> int:
    """A status of the command line; a traceback is an error here, whatever becomes of it there."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = code_jax(list(words))
    assert "Traceback" not in said.getvalue() and status in (0, 1, 2), said.getvalue()[-2000:]
    assert said.getvalue().replace("\n", "").isprintable(), "control characters reach the terminal"
    return status


def _told(read: Callable[[], object]) -> int:
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            read()
    except (PictureError, UserError) as error:
        assert str(error).isprintable() and str(error), "a reason of one line"
        return 2
    return 0


def _pil(path: Path) -> object:
    try:
        picture = Image.open(path, formats=["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF"])
    except Exception:  # Pillow's own refusal, before from_pil is asked
        return None
    return from_pil(picture)


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
    with tempfile.TemporaryDirectory(dir=args.folder) as work:
        folder = Path(work)
        one = folder / "one"
        one.mkdir()
        (folder / "sound.png").write_bytes(encoded(scene(size=(64, 64)), "PNG"))
        _command("corrupt", str(folder / "sound.png"), "--out", str(folder / "warm"), "--corruption", "contrast")
        watch = Watch(folder)
        ends: Counter[str] = Counter()

        def count(what: str, read: Callable[[], int]) -> None:
            try:
                with watch.input():
                    ends[f"{what} {('read', 'failed', 'refused')[read()]}"] += 1
            except Hang:
                ends["hangs"] += 1
            except Exception:
                ends["tracebacks"] += 1
                traceback.print_exc()

        for i in range(args.files):
            name = list(originals)[rng.integers(len(originals))]
            path = one / f"{i:05}-{name}"
            path.write_bytes(mutated(originals[name], rng)[1])
            count("info", lambda path=path: _command("info", str(path)))
            words = ("--out", str(folder / f"out{i}"), "--corruption", "contrast")
            count("corrupt", lambda path=path, words=words: _command("corrupt", str(path), *words))
            count("train", lambda: _told(lambda: read_pictures(one, 16)))
            count("mask", lambda path=path: _told(lambda: read_mask(path, (16, 16, 3), "resize")))
            count("from_pil", lambda path=path: _told(lambda: _pil(path)))
            path.unlink()
        for _ in range(args.archives):
            (folder / "a.zip").write_bytes(mutated(packed.getvalue(), rng)[1])
            count("archive", lambda: _told(lambda: read_pictures(folder / "a.zip", 16)))
        whole = watch.report()
    print(", ".join(f"{end} {number}" for end, number in sorted(ends.items())))
    tracebacks, hangs = ends["tracebacks"], ends["hangs"]
    print(f"{args.files} mutated files, {args.archives} archives: {tracebacks} tracebacks, {hangs} over {LIMIT:g} s")
    sys.exit(bool(tracebacks or hangs or not whole))


if __name__ == "__main__":
    main()
