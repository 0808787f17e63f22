"""What a bucket costs a restoration: requests and bytes a picture, and seconds to the first result; by an exact prior.

python -m tests.benchmarks.bucket_cost --pictures 500
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from code_jax.pictures.encode import encode_picture
from tests.runs.driver import run
from tests.storage.emulator import emulator


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=500)
    count = parser.parse_args().pictures
    pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), np.uint8)
    pictures = {f"{k:06}.png": encode_picture(each, None, "PNG")[0] for k, each in enumerate(pixels)}
    with emulator() as google, tempfile.TemporaryDirectory() as folder:
        google.objects = {f"b/in/{name}": data for name, data in pictures.items()}
        disk = Path(folder) / "in"
        disk.mkdir()
        for name, data in pictures.items():
            (disk / name).write_bytes(data)
        _timed("a warm start", [disk, "--out", Path(folder) / "warm"])
        _timed("from disk to disk", [disk, "--out", Path(folder) / "out"])
        first: list[float] = []
        begun = time.monotonic()
        google.fault = lambda method, key: first.append(time.monotonic() - begun) if method == "PUT" and "png" in key else None
        for what in ("from bucket to bucket", "again, where all is done"):
            google.requests, google.bytes_in, google.bytes_out = Counter(), 0, 0
            _timed(what, ["gs://b/in", "--out", "gs://b/out"])
            each = {method: round(number / count, 3) for method, number in sorted(google.requests.items())}
            print(
                f"  requests a picture: {each}; bytes read {google.bytes_out / count:.0f}, written {google.bytes_in / count:.0f}"
            )
        print(f"  first result after {first[0]:.2f} s; a picture has {sum(map(len, pictures.values())) / count:.0f} bytes")


def _timed(what: str, words: list[object]) -> None:
    begun = time.monotonic()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        status = run(0.0, list(map(str, words)))
    print(f"{what}: {time.monotonic() - begun:.1f} s, status {status}", flush=True)


if __name__ == "__main__":
    main()
