"""Fills a small file system of its own (tmpfs, which root may mount) by a run, makes it larger, and lets the run go on.

python -m tests.benchmarks.batch_full_disk [--pictures 80]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.runs.conftest import make_pictures
from tests.runs.results import assert_complete, assert_whole, files


def restore(inputs: Path, out: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tests.runs.driver", "0", str(inputs), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=80)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        disk, out = Path(work) / "disk", Path(work) / "disk" / "out"
        inputs = make_pictures(Path(work) / "in", args.pictures)
        assert restore(inputs, Path(work) / "undisturbed").returncode == 0
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(disk)], check=True)
        try:
            done = restore(inputs, out)
            assert done.returncode == 2 and "No space left on device" in done.stderr and "Traceback" not in done.stderr
            assert not [name for name in files(out) if name.endswith(".tmp")]
            print(f"{done.stderr.splitlines()[-1]}\n  {assert_whole(out)} results so far, each of them whole", flush=True)
            subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
            assert restore(inputs, out).returncode == 0
            assert_complete(out, files(Path(work) / "undisturbed"))
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    print(f"with room again: {args.pictures} of {args.pictures} results byte-identical to the undisturbed run's")


if __name__ == "__main__":
    main()
