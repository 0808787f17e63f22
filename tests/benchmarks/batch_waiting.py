"""The share of the time that the device waits for files: photographs of several megapixels, read and written by threads.

python -m tests.benchmarks.batch_waiting [--pictures 64] [--width 2000] [--height 1500] [--prior eurosat-64]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from code_jax.cli.main import main as command
from tests.runs.corpus import encoded, scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--width", type=int, default=2000)
    parser.add_argument("--height", type=int, default=1500)
    parser.add_argument("--prior", default="eurosat-64")
    parser.add_argument("--ode-steps", type=int, default=10)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "in"
        folder.mkdir()
        for i in range(args.pictures):
            (folder / f"{i:03}.jpg").write_bytes(encoded(scene("RGB", (args.width, args.height), seed=i), "JPEG"))
        print(f"{args.pictures} photographs of {args.width}x{args.height}", flush=True)
        options = ["--prior", args.prior, "--ode-steps", str(args.ode_steps), "--keep-size", "--format", "same"]
        command(["restore", str(folder), "--out", str(Path(work) / "out"), *options])


if __name__ == "__main__":
    main()
