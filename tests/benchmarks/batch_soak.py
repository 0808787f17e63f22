"""A long run over pictures of mixed kinds and sizes, killed and resumed: nothing lost, nothing done twice, steady memory.

    python -m tests.benchmarks.batch_soak [--pictures 2000] [--kills 10] [--prior eurosat-64] [--undisturbed]

Memory is the process's resident set, sampled every 20 ms; tenths are of the pictures, in the order that the manifest tells.
With --undisturbed a run that nothing disturbs comes first, whose bytes the killed one must give, and whose memory is stated too.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.benchmarks.batch_processes import FEW_STEPS, check_after_kill, make_pictures, number_of_lines, resident, running
from tests.runs.results import assert_complete, files, lines


def watch(process, out: Path, until: int, peaks: np.ndarray, total: int) -> None:
    """Notes peaks of memory by tenths until so many lines are there, or the process ends."""
    told = 0
    while process.poll() is None and told < until:
        told = number_of_lines(out)
        try:
            memory = resident(process.pid)
        except (FileNotFoundError, IndexError, ValueError):
            break
        tenth = min(10 * told // total, 9)
        peaks[tenth] = max(peaks[tenth], memory)
        time.sleep(0.02)


def stamps(out: Path) -> dict[str, tuple[int, int]]:
    told = [line["output"] for line in lines(out) if line["status"] == "done"]
    return {name: ((out / name).stat().st_ino, (out / name).stat().st_mtime_ns) for name in told}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--prior", default="eurosat-64")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--undisturbed", action="store_true")
    parser.add_argument("--folder", help="where to work; a temporary one by default")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as work:
        folder, options = Path(work), ("--prior", args.prior, *FEW_STEPS)
        bad = make_pictures(folder / "in", args.pictures, 0.05, 400, args.seed)
        peaks = {name: np.zeros(10) for name in (["undisturbed"] if args.undisturbed else []) + ["killed"]}
        print(f"{args.pictures} pictures, {bad} of them bad", flush=True)
        if args.undisturbed:
            with running(folder / "in", folder / "undisturbed", *options) as process:
                watch(process, folder / "undisturbed", args.pictures + 1, peaks["undisturbed"], args.pictures)
                assert process.wait() == 1

        out, before = folder / "out", {}
        moments = np.sort(np.random.default_rng(args.seed).uniform(0.02, 0.98, args.kills) * args.pictures).astype(int)
        for moment in [*moments, args.pictures + 1]:
            with running(folder / "in", out, *options) as process:
                watch(process, out, moment, peaks["killed"], args.pictures)
                process.kill() if moment <= args.pictures else None
                assert process.wait() == (-9 if moment <= args.pictures else 1)
            done, after = check_after_kill(out, out.with_suffix(".log")), stamps(out)
            assert before.items() <= after.items(), "a result was done twice"
            before = after
            print(f"at {min(moment, args.pictures)} lines: {done} results, none of them made anew since", flush=True)
        assert_complete(out, files(folder / "undisturbed" if args.undisturbed else out), failed=bad)
        assert len(before) == args.pictures - bad
        print(f"killed and resumed {args.kills} times: {len(before)} results and {bad} failures, none lost, none twice")
        for name, values in peaks.items():
            text = " ".join(f"{value / 2**20:.0f}" for value in values)
            print(f"peak memory, MiB, by tenths, {name}: {text}; last to first {values[-1] / values[0]:.3f}")


if __name__ == "__main__":
    main()
