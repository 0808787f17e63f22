"""Random kills of a restoration on a cluster, into a bucket; what is left is what an undisturbed run leaves, byte for byte.

python -m tests.benchmarks.cluster_kills --kills 10 --seed 0

Each kill is of a worker (SIGKILL), of a node with all that runs on it (another takes its place), of the command (SIGKILL; it is
given again), or of the storage, which for two seconds answers 503, or does what it is asked and never says so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from code_jax.pictures.encode import encode_picture
from tests.cluster.nodes import Nodes, nodes
from tests.storage.emulator import Emulator, emulator

_OF_PLACE = ("seconds", "input_version", "output_version")
_PICTURES, _OUTAGE, _PATIENCE = 240, 2.0, 900.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, pixels = random.Random(args.seed), np.random.default_rng(args.seed).integers(0, 256, (_PICTURES, 8, 8, 3), np.uint8)
    with emulator() as google, nodes(1, 1) as cluster:
        google.objects |= {f"b/in/{k:04}.png": encode_picture(each, None, "PNG")[0] for k, each in enumerate(pixels)}
        assert _started("gs://b/whole").wait(_PATIENCE) == 0
        expected, kills, rounds = _left(google, "b/whole"), Counter[str](), 0
        while kills.total() < args.kills:
            begun, rounds = time.monotonic(), rounds + 1
            _round(rng, google, cluster, kills, args.kills)
            assert _left(google, "b/out") == expected
            print(f"round {rounds}: {time.monotonic() - begun:.0f} s, {dict(kills)}", flush=True)
            google.objects = {key: data for key, data in google.objects.items() if not key.startswith("b/out/")}
    total = f"{kills.total()} kills in {rounds} rounds of {_PICTURES} pictures: {dict(kills)}"
    print(f"{total}; each round left what an undisturbed run does")


def _round(rng: random.Random, google: Emulator, cluster: Nodes, kills: Counter[str], most: int) -> None:
    """One restoration from its beginning to its end."""
    options = ("--engine", "ray", "--address", cluster.address, "--actors", "2")
    process, before = _started("gs://b/out", *options), kills.total()
    while (status := process.poll()) is None:
        wanted = rng.choice(["worker", "worker", "node", "command", "storage"])
        there = len(_results(google, "b/out"))
        while process.poll() is None and len(_results(google, "b/out")) == there:
            time.sleep(0.02)  # between two kills something is done
        time.sleep(rng.random())
        if kills.total() == most or kills.total() - before >= most or process.poll() is not None:
            status = process.wait(_PATIENCE)
            break
        kills[wanted] += 1
        if wanted == "worker" and (pids := _workers()):
            os.kill(rng.choice(pids), signal.SIGKILL)
        elif wanted == "node":
            cluster.remove()
            cluster.add(1)
        elif wanted == "command":
            process.kill()
            process.wait()
            process = _started("gs://b/out", *options)
        else:
            google.fault = lambda method, key: rng.choice(["503", "lost"])
            time.sleep(_OUTAGE)
            google.fault = lambda method, key: None
    assert status == 0, f"it ended with {status}"


def _started(out: str, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.runs.driver", "0.0", "gs://b/in", "--out", out, *options],
        env=os.environ | {"JAX_PLATFORMS": "cpu"}, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def _results(google: Emulator, prefix: str) -> dict[str, bytes]:
    return {name: data for name, data in google.below(prefix).items() if name.endswith(".png")}


def _left(google: Emulator, prefix: str) -> tuple[dict[str, bytes], list[str]]:
    """Results, and the manifest's lines without what depends on times and places, each of which is there once."""
    stored = [data for name, data in google.below(prefix).items() if name.startswith("manifest/")]
    lines = [json.loads(text) for data in stored for text in data.splitlines()]
    assert len(lines) == len({line["name"] for line in lines}) == _PICTURES
    told = [json.dumps({name: value for name, value in line.items() if name not in _OF_PLACE}) for line in lines]
    return _results(google, prefix), sorted(told)


def _workers() -> list[int]:
    """Processes of actors of this process's cluster: Ray names them, and their parents' parent is this."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (
                path.joinpath("cmdline").read_bytes().startswith(b"ray::_Actor")
                and _parent(_parent(int(path.name))) == os.getpid()
            ):
                found.append(int(path.name))
        except (OSError, IndexError):  # it has gone
            continue
    return found


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


if __name__ == "__main__":
    main()
