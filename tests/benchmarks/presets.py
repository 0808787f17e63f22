"""Realism and fidelity of settings over corruptions of held-out pictures: what the presets are chosen by.

    python -m tests.benchmarks.presets --data train.zip --cache DIR sdedit:sigma=0.3,0.5 code:sigma=0.5,0.72:relative_step=0.1,0.2

A word is a row of `code-jax evaluate` with settings as its --set takes them, one line for each combination of the values given.
Pictures are those held out of training by name hash, never test pictures. What was restored is kept in the cache folder: a
further setting costs only itself. Few pictures bias every Fréchet distance alike: compare distances of one run.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import code_jax
from code_jax.cli.runtime import keep_compiled, use_cores
from code_jax.corruptions.registry import NAMES
from code_jax.evaluation.entry import Entry, entry_of, read_values
from code_jax.evaluation.measures import FEATURES, Yardstick
from code_jax.evaluation.pool import read_pool
from code_jax.evaluation.records import Records
from code_jax.evaluation.statistics import moments_of, pooled_frechet
from code_jax.evaluation.workshop import Workshop
from code_jax.interruption import Interruption
from code_jax.priors import DEFAULT
from code_jax.runs.micro_batch import default_micro_batch

HELD_OUT = 1000
COLUMNS = ("psnr_input", "psnr_source", "deep_feature_distance", "l2_input")


def lines(word: str, prior: code_jax.Prior) -> Iterator[tuple[str, Entry]]:
    """Each point of a row by itself, and what it is."""
    name, *settings = word.split(":")
    entry = entry_of(name, read_values(settings), prior)
    for number, choice in enumerate(entry.choices):
        yield f"{name} {entry.said(number, prior)}".strip(), entry.at(choice)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="+", metavar="ROW[:OPTION=V,V]")
    parser.add_argument("--data", required=True, type=Path, help="folder or zip of the pictures that the prior was trained on")
    parser.add_argument("--cache", required=True, type=Path)
    parser.add_argument("--prior", default=DEFAULT)
    parser.add_argument("--features", choices=FEATURES, default="photo")
    parser.add_argument("--images", type=int, default=4, help="pictures for each corruption")
    parser.add_argument("--severity", type=int, default=5)
    parser.add_argument("--corruptions", default=",".join(NAMES))
    parser.add_argument("--held-out", type=int, default=HELD_OUT)
    args = parser.parse_args()
    keep_compiled()
    use_cores()
    prior, yardstick = code_jax.load_prior(args.prior), Yardstick(args.features)
    pool = read_pool(args.data, prior.image_shape[0], yardstick.classes, args.held_out)
    reference = moments_of(yardstick.features_of(pool.pixels))
    args.cache.mkdir(parents=True, exist_ok=True)
    workshop = Workshop(prior, yardstick, Records(args.cache, resume=True), 0, default_micro_batch())
    print(f"| setting | NFE | Fréchet distance [95 %] | {' | '.join(COLUMNS)} |\n{'|---' * (len(COLUMNS) + 3)}|")
    for what, entry in (line for word in ("clean", "inputs", *args.words) for line in lines(word, prior)):
        pieces = [workshop.pieces(entry, name, args.severity, pool, args.images) for name in args.corruptions.split(",")]
        for _ in workshop.do([piece for of in pieces for piece in of], lambda done: None, Interruption()):
            pass
        records = [workshop.read(of) for of in pieces]
        found = pooled_frechet(np.concatenate([record["features"][0] for record in records]), reference, 200, 0)
        values = [f"{np.mean([np.mean(record[name]) for record in records]):.3f}" for name in COLUMNS]
        distance = f"{found.estimate:.2f} [{found.low:.2f}, {found.high:.2f}]"
        print(f"| {what} | {entry.nfe} | {distance} | {' | '.join(values)} |", flush=True)


if __name__ == "__main__":
    main()
