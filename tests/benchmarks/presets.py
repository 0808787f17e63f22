"""Realism and fidelity of settings over all 47 corruptions of held-out tiles: what the presets are chosen by.

    python -m tests.benchmarks.presets --data train.zip --cache DIR --grid sdedit:0.2,0.2:0.2:3,0.2:0.2:3:1:10:midpoint:geometric

A setting is depth:h/(1 − ᾱ):Langevin steps[:η[:ODE steps[:solver:grid]]] of CODE, sdedit:depth, or a method's name. Tiles are
those held out of training by name hash, never test tiles. What was restored is kept in the cache folder: a further setting costs
only itself. Few tiles bias every Fréchet distance alike: compare distances of one run.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from code_jax.evaluation.method import Axes, Method, method_of

import code_jax
from code_jax.cli.runtime import keep_compiled, use_cores
from code_jax.corruptions.registry import NAMES
from code_jax.evaluation.measures import Yardstick
from code_jax.evaluation.pool import read_pool
from code_jax.evaluation.records import Records
from code_jax.evaluation.statistics import moments_of, pooled_frechet
from code_jax.evaluation.workshop import Workshop
from code_jax.runs.micro_batch import default_micro_batch

HELD_OUT = 1000


def setting(words: str, schedule: code_jax.NoiseSchedule) -> Method:
    """A method with its one setting, or one of `code_jax.evaluation.method.NAMES` as it is."""
    first, *others = words.split(":")
    if not others:
        return method_of(first, Axes(), schedule)
    if first == "sdedit":
        return method_of("sdedit", Axes(depth=(float(others[0]),)), schedule)
    relative_step, langevin_steps, *rest = others
    eta = float(rest[0]) if rest else None
    kinds: dict[str, Any] = dict(zip(("solver", "grid"), rest[2:], strict=False))
    program = {"langevin_steps": int(langevin_steps)} | ({"num_steps": int(rest[1])} if rest[1:] else {}) | kinds
    return method_of("code", Axes((float(first),), (float(relative_step),), eta, program=program), schedule)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder or zip of the tiles that the prior was trained on")
    parser.add_argument("--cache", required=True, type=Path)
    parser.add_argument("--prior", default="eurosat-64")
    parser.add_argument("--images", type=int, default=4, help="tiles for each corruption")
    parser.add_argument("--severity", type=int, default=5)
    parser.add_argument("--corruptions", default=",".join(NAMES))
    parser.add_argument("--grid", required=True, help="settings between commas")
    args = parser.parse_args()
    keep_compiled()
    use_cores()
    prior = code_jax.load_prior(args.prior)
    yardstick, corruptions = Yardstick("landcover"), tuple(args.corruptions.split(","))
    pool = read_pool(args.data, prior.image_shape[0], yardstick.classes, HELD_OUT)
    reference = moments_of(yardstick.features_of(pool.pixels))
    args.cache.mkdir(parents=True, exist_ok=True)
    workshop = Workshop(prior, yardstick, Records(args.cache, resume=True), corruptions, 0, default_micro_batch())
    columns = "setting", "NFE", "Fréchet distance [95 %]", "PSNR-input", "PSNR-source", "L2-input", "class right"
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for words in ("clean", "inputs", *args.grid.split(",")):
        method = setting(words, prior.schedule)
        pieces = [workshop.pieces(method, name, args.severity, pool, args.images) for name in corruptions]
        for _ in workshop.do([piece for of in pieces for piece in of], lambda done: None, lambda: None):
            pass
        records = [workshop.read(of) for of in pieces]
        found = pooled_frechet(np.concatenate([record["features"][0] for record in records]), reference, 200, 0)
        values = [np.mean([np.nanmean(r[name]) for r in records]) for name in ("psnr_source", "l2_input", "accuracy")]
        fidelity = np.mean([np.mean(r["psnr_input"]) for r in records]) if words != "inputs" else np.inf
        print(f"| {words} | {method.nfe} | {found.estimate:.2f} [{found.low:.2f}, {found.high:.2f}] | {fidelity:.2f} "
              f"| {values[0]:.2f} | {values[1]:.3f} | {values[2]:.0%} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
