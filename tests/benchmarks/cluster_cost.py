"""What a cluster costs a restoration on this machine: pictures a second and seconds to the first, with Ray and without, in turns.

    python -m tests.benchmarks.cluster_cost [--pictures 120] [--turns 5] [--prior pictures-64]

By the default preset. A rate is that of the pictures after the first tenth, by when each was written; the interval is 95 % of
Student's t over turns, of the logarithm of the ratio of two runs, of which each is the first in every other turn.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import stats

from code_jax.priors import DEFAULT
from tests.runs.corpus import encoded, scene

_ENGINES = {"local": (), "ray": ("--engine", "ray")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=120)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--prior", default=DEFAULT)
    args = parser.parse_args()
    rates: dict[str, list[float]] = {name: [] for name in _ENGINES}
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "in"
        folder.mkdir()
        for k in range(args.pictures):
            (folder / f"{k:04}.png").write_bytes(encoded(scene("RGB", (64, 64), seed=k), "PNG"))
        for turn in range(args.turns):
            for name in sorted(_ENGINES, reverse=bool(turn % 2)):
                rate, first = _run(folder, Path(work) / f"{name}{turn}", args.prior, _ENGINES[name])
                rates[name].append(rate)
                print(f"turn {turn + 1}, {name}: {rate:.3f} pictures a second, the first after {first:.1f} s", flush=True)
        _check(*(_written(Path(work) / f"{name}0") for name in _ENGINES))
    ratios = np.log(np.array(rates["local"]) / np.array(rates["ray"]))
    half = stats.sem(ratios) * stats.t.ppf(0.975, len(ratios) - 1)
    low, mean, high = np.exp(np.mean(ratios) + half * np.array([-1, 0, 1]))
    print(f"a picture with Ray takes {mean:.3f} [{low:.3f}, {high:.3f}] times what it takes without")


def _run(folder: Path, out: Path, prior: str, options: tuple[str, ...]) -> tuple[float, float]:
    """Pictures a second, and seconds to the first."""
    begun = time.time()
    words = ["restore", str(folder), "--out", str(out), "--prior", prior, "--fit", "resize", *options]
    subprocess.run([sys.executable, "-m", "code_jax", *words], check=True, capture_output=True)
    at = np.sort([path.stat().st_mtime for path in _written(out)])
    tenth = len(at) // 10
    return (len(at) - 1 - tenth) / (at[-1] - at[tenth]), at[0] - begun


def _written(out: Path) -> list[Path]:
    return sorted(out.glob("*.png"))


def _check(local: list[Path], ray: list[Path]) -> None:
    """Raises AssertionError where results are not the same bytes."""
    assert [(path.name, path.read_bytes()) for path in local] == [(path.name, path.read_bytes()) for path in ray]


if __name__ == "__main__":
    main()
