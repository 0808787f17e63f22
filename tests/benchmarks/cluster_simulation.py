"""The driver of a cluster alone: made-up inputs whose restorer sleeps, so that what is measured is what handing out costs.

python -m tests.benchmarks.cluster_simulation --inputs 1000000 --actors 64 --nodes 4 --milliseconds 5 --size 16
"""

from __future__ import annotations

import argparse
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from code_jax.cluster.cluster import Cluster
from code_jax.interruption import Interruption
from tests.cluster.nodes import nodes
from tests.cluster.workers import nothing


class Sleeping:
    """Answers as a restorer does, after so many seconds an input."""

    def __init__(self, seconds: float, size: int) -> None:
        self.size, self._seconds, self._device = size, seconds, threading.Lock()

    def work(self, items: list[Any]) -> list[Any]:
        with self._device:  # which takes one call after the other
            time.sleep(self._seconds * len(items))
        return [{"name": item[0], "status": "done", "output_hash": "0" * 64} for item in items]


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("inputs", 1_000_000), ("actors", 64), ("nodes", 4), ("milliseconds", 5), ("size", 16)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    with (
        nodes(*[-(-args.actors // args.nodes)] * args.nodes) as running,
        Cluster(running.address, args.actors, nothing) as cluster,
    ):
        begun = time.monotonic()
        names: Iterator[tuple[str, dict[Any, Any]]] = ((f"pictures/{k:09}", {}) for k in range(args.inputs))
        done, first = 0, 0.0
        for _ in cluster.do(Sleeping, (args.milliseconds / 1000, args.size), names, Interruption()):
            done += 1
            if done == 1:
                first, cpu = time.monotonic(), time.process_time()
                print(f"first result after {first - begun:.1f} s, with {_megabytes()} MB", flush=True)
            if done % max(args.inputs // 5, 1) == 0:
                seconds = time.monotonic() - first
                print(f"{done} done, {done / seconds:.0f}/s, {_megabytes()} MB", flush=True)
        seconds, spent = time.monotonic() - first, time.process_time() - cpu
    most = args.actors * 1000 / args.milliseconds
    print(f"{args.actors} actors on {args.nodes} nodes: {done} inputs, {done / seconds:.0f}/s of at most {most:.0f}/s")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"the driver: {1e6 * spent / done:.0f} µs of CPU an input, at most {memory} MB")


def _megabytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() >> 20


if __name__ == "__main__":
    main()
