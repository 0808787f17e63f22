"""Mutates real files of every format and mode and restores each: no traceback, no hang, no wrong success.

    python -m tests.benchmarks.batch_fuzz [--files 2500] [--data test.zip] [--seed 0] [--folder DIR]

A success is right where Pillow, asked in another process, reads the file too; and where of a file that was cut short every
pixel is that of the whole one. Restored with an exact prior, so that the time goes into files.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from tests.benchmarks.watch import Watch, exact
from tests.runs.conftest import FAST, make_pictures
from tests.runs.corpus import corpus
from tests.runs.results import assert_whole, lines


def mutated(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """A kind of damage, and the damaged bytes."""
    kind = ("bytes", "cut", "gap", "zeros", "insert", "header", "join")[rng.integers(7)]
    content = bytearray(data)
    first = int(rng.integers(len(content)))
    if kind == "bytes":
        for _ in range(rng.integers(1, 9)):
            content[rng.integers(len(content))] = rng.integers(256)
    elif kind == "cut":
        del content[max(first, 1) :]
    elif kind == "gap":
        del content[first : first + int(rng.integers(1, 200))]
    elif kind == "zeros":
        length = min(int(rng.integers(1, 200)), len(content) - first)
        content[first : first + length] = bytes(length)
    elif kind == "insert":
        content[first:first] = rng.integers(0, 256, int(rng.integers(1, 200)), np.uint8).tobytes()
    elif kind == "header":
        content[rng.integers(min(64, len(content)))] ^= 1 << rng.integers(8)
    else:
        content += content[: len(content) // 2]
    return kind, bytes(content)


CHECK = """
import io, sys, warnings
from pathlib import Path
from PIL import Image
warnings.simplefilter("ignore")
for name in sys.stdin.read().split("\\0"):
    try:
        with Image.open(name) as picture:
            picture.load()
    except Exception as error:
        print(f"{name}: {type(error).__name__} {error}")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2500)
    parser.add_argument("--data", help="zip of tiles, of which a hundred are mutated too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where to work; a temporary one by default")
    args = parser.parse_args()
    originals = corpus()
    if args.data:
        with zipfile.ZipFile(args.data) as archive:
            names = [name for name in sorted(archive.namelist()) if name.endswith(".webp")][:100]
            originals |= {f"tile{i}.webp": archive.read(name) for i, name in enumerate(names)}
    rng, wrong, kinds, reasons = np.random.default_rng(args.seed), list[str](), Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory(dir=args.folder) as work, exact(Path(work)):
        folder, out, watch = Path(work) / "in", Path(work) / "out", Watch(Path(work))
        folder.mkdir()
        restore = ("--out", str(out), "--format", "same", "--keep-size", *FAST)
        watch.command("first", "restore", str(make_pictures(Path(work) / "first", 1)), *restore, limit=600)  # which compiles
        for i in range(args.files):
            shutil.rmtree(out)
            name = list(originals)[rng.integers(len(originals))]
            kind, data = mutated(originals[name], rng)
            path = folder / f"{i:05}-{kind}-{name}"
            path.write_bytes(data)
            status = watch.command("restore", "restore", str(path), *restore)
            with watch.input(f"the result of {path}"):
                (told,) = lines(out)
                assert assert_whole(out) == (status == 0) and told["status"] == ("failed" if status else "done")
                if status:
                    reasons[told["error"].split(":")[0][:40]] += 1
                    path.unlink()
                    continue
                kinds[kind] += 1
                if kind == "cut":
                    cut, whole = (np.asarray(Image.open(file)) for file in (path, io.BytesIO(originals[name])))
                    if cut.shape != whole.shape or np.any(cut != whole):
                        wrong.append(f"{path}: cut, and restored as if it were whole")
        good = "\0".join(map(str, sorted(folder.iterdir())))
        sound = watch.report()
        checked = subprocess.run([sys.executable, "-c", CHECK], input=good, capture_output=True, text=True, check=True)
    wrong += checked.stdout.splitlines()
    for line in wrong:
        print("wrong success:", line)
    print(f"{args.files} mutated files of {len(originals)}; restored by kind of damage: {dict(sorted(kinds.items()))}")
    print("most frequent reasons:", "; ".join(f"{reason} {number}" for reason, number in reasons.most_common(8)))
    print(f"wrong successes: {len(wrong)}")
    sys.exit(bool(wrong) or not sound)


if __name__ == "__main__":
    main()
