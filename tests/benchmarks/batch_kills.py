"""Kills real runs at random moments and lets the same command go on, until it ends as a run that nobody disturbed.

python -m tests.benchmarks.batch_kills [--kills 50] [--pictures 400] [--prior exact] [--folder DIR]

The exact prior starts fastest (`tests.runs.driver`); any other name is given to the command itself.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.benchmarks.batch_processes import FEW_STEPS, check_after_kill, kill_at_random, make_pictures, running
from tests.runs.results import assert_complete, files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--prior", default="exact")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where to work; a temporary one by default")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as work:
        folder, rng, options = Path(work), np.random.default_rng(args.seed), ("--prior", args.prior, *FEW_STEPS)
        bad = make_pictures(folder / "in", args.pictures, 0.05, 200, args.seed)
        begun = time.monotonic()
        with running(folder / "in", folder / "undisturbed", *options) as process:
            assert process.wait() == (1 if bad else 0)
        expected = files(folder / "undisturbed")
        print(f"undisturbed: {len(expected)} results, {bad} bad files, {time.monotonic() - begun:.0f} s", flush=True)
        kills, rounds, known = 0, 0, 0
        while kills < args.kills:
            rounds += 1
            out = folder / f"out{rounds}"
            while kills < args.kills:
                with running(folder / "in", out, *options) as process:
                    # A round's pictures are shared out among ten kills.
                    if not kill_at_random(process, out, rng, max(args.pictures // 10, 2)):
                        break
                kills += 1
                known = check_after_kill(out, out.with_suffix(".log")) if out.exists() else 0
            print(f"round {rounds}: {kills} kills so far, {known} results when last killed", flush=True)
            with running(folder / "in", out, *options) as process:
                assert process.wait() == (1 if bad else 0)
            assert_complete(out, expected, failed=bad)
            assert "Traceback" not in out.with_suffix(".log").read_text()
        print(
            f"{kills} kills by SIGKILL in {rounds} rounds: no half-written picture, no lost line, "
            f"{rounds * len(expected)} of {rounds * len(expected)} results byte-identical to the undisturbed run's"
        )


if __name__ == "__main__":
    main()
