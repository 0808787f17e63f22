"""Runs of ``code-jax restore`` in processes that are killed, and generated pictures of mixed kinds to give them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.runs.corpus import encoded, scene
from tests.runs.results import assert_whole

FEW_STEPS = ("--method", "ddim", "--solver", "ddim", "--ode-steps", "1")  # three evaluations
KINDS = [
    ("PNG", "png", ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    ("JPEG", "jpg", ("L", "RGB", "CMYK")),
    ("TIFF", "tif", ("L", "RGB", "RGBA", "YCbCr", "I;16", "F")),
    ("WEBP", "webp", ("RGB", "RGBA")),
    ("BMP", "bmp", ("L", "P", "RGB")),
    ("GIF", "gif", ("P",)),
]


def make_pictures(folder: Path, count: int, bad: float, most: int, seed: int) -> int:
    """Writes `count` pictures of random kinds, modes and sides up to `most`, a share of them spoiled; how many are."""
    rng = np.random.default_rng(seed)
    spoiled = 0
    for i in range(count):
        kind, ending, modes = KINDS[rng.integers(len(KINDS))]
        size = tuple(int(side) for side in rng.integers(1 if i % 50 == 0 else 8, most, 2))
        data = encoded(scene(modes[rng.integers(len(modes))], size, seed=i), kind)
        if rng.uniform() < bad:
            spoiled += 1
            data = (b"", b"no picture", data[: len(data) // 2], b"\x89PNG\r\n\x1a\n" + data[8:40])[rng.integers(4)]
        path = folder / f"{i % 7}" / f"{i:05}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return spoiled


@contextlib.contextmanager
def running(inputs: Path, out: Path, *options: str) -> Iterator[subprocess.Popen]:
    """A run, which is killed on leaving if it has not ended; what it says goes to ``OUT.log``.

    With ``--prior exact`` among the options it is `tests.runs.driver`'s, with 20 ms a segment.
    """
    command = [sys.executable, "-m", *(("tests.runs.driver", "0.02") if "exact" in options else ("code_jax", "restore"))]
    command += [str(inputs), "--out", str(out), *options]
    with open(out.with_suffix(".log"), "a") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


def kill_at_random(process: subprocess.Popen, out: Path, rng: np.random.Generator, most: int) -> bool:
    """Kills a run at a random moment: one time in five before its first result, else after up to `most` lines more.

    False if it ended by itself before.
    """
    early = rng.uniform() < 0.2
    deadline = time.monotonic() + (rng.uniform(0, 6) if early else 600)
    target = number_of_lines(out) + int(rng.integers(1, most))
    while process.poll() is None and time.monotonic() < deadline and (early or number_of_lines(out) < target):
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 0.5))
    process.kill()
    return process.wait() == -signal.SIGKILL


def number_of_lines(out: Path) -> int:
    """Whole lines of the manifest."""
    path = out / "manifest.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def check_after_kill(out: Path, log: Path) -> int:
    """What must hold at any moment; the number of results."""
    assert "Traceback" not in log.read_text(), log
    return assert_whole(out)


def resident(pid: int) -> int:
    """Bytes of a process in memory now."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
