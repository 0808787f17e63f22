"""Gives every option of every command what it cannot take, or can hardly: counts of 10⁹, NaN, names of devices, nothing.

    python -m tests.benchmarks.arguments_fuzz [--commands restore,sweep,…] [--folder DIR]

Each must end as a command does, or in a line that names the option; with an exact prior, so that what may be computed is quick.
`train`, `evaluate` and `bench` end where they would begin to compute, and `demo` where it would listen.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

from code_jax import UserError, load_prior, save_prior
from code_jax.cli.main import parser_of_all
from code_jax.priors import DEFAULT
from code_jax.priors.load import PRECISIONS
from tests.benchmarks.watch import LIMIT, Watch, cache_in
from tests.conftest import tiny_prior
from tests.runs.conftest import FAST, exact_prior, make_pictures

HOSTILE = [
    "", " ", "0", "-1", "1", "1.5", "1e9", "1000000000", "9" * 5000, "nan", "inf", "-inf", "1e400", "1e-400", "none", "auto",
    "1,2", "1:2:3", "1:2:1000000000", ",", ":", "=", "*", "%s", "{}", "é日", "\udcff", "\x1b[2J", "x" * 100_000, "-", "--",
    "True", "/dev/zero", "/dev/null", "/proc/self/mem", "PIPE", "FOLDER", "PICTURE", "TEXT",
]  # fmt: skip
_ENDS = (
    "code_jax.training.loop.train",
    "code_jax.evaluation.run.evaluate",
    "code_jax.demo.server.serve",
    "code_jax.bench.measure.measure",
)


def commands(work: Path) -> dict[str, list[str]]:
    """What each command is given besides."""
    pictures, large = str(make_pictures(work / "in", 2)), work / "large"
    large.mkdir()
    for i in range(40):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (32, 32, 3), np.uint8)).save(large / f"{i}.png")
    few = ["--ode-steps", "2", "--batch-size", "2"]
    return {
        "restore": [pictures, "--out", "OUT", *FAST],
        "sweep": [pictures, "--out", "OUT", *FAST],
        "likelihood": [pictures, *few],
        "statistics": [pictures, "--batch-size", "2"],
        "calibrate": ["exact", str(large), "--out", "OUT/c.json", "--num-steps", "2", "--batch-size", "8"],
        "corrupt": [str(large / "0.png"), "--out", "OUT", "--corruption", "contrast"],
        "evaluate": ["--data", str(large), "--out", "OUT", "--corruptions", "contrast", "--methods", "inputs", "--images", "1"],
        "train": ["--data", str(large), "--out", "OUT"],
        "convert": [str(work / "prior"), "OUT"],
        "info": [pictures],
        "merge": ["OUT"],
        "demo": [],
        "bench": ["--ode-steps", "1", "--runs", "1", "--points", "1", "--batch-size", "1", "--batches", "1"],
        "completion": [],
        "priors": [],
    }


def lines(given: dict[str, list[str]], chosen: list[str]) -> Iterator[tuple[str, ...]]:
    """Every command line that is tried."""
    parsers = parser_of_all()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    for name in chosen:
        words = given[name]
        for value in HOSTILE:
            for place, word in enumerate(words):
                if not word.startswith("--") and (not place or not words[place - 1].startswith("--")):
                    yield (name, *words[:place], value, *words[place + 1 :])
            for action in parsers[name]._actions:
                if action.option_strings and action.nargs != 0:
                    yield (name, *words, f"{action.option_strings[-1]}={value}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", help="all of them by default")
    parser.add_argument("--folder", help="where to work; a temporary one by default")
    args = parser.parse_args()
    exact = exact_prior()

    def loaded(name: str, **options: Any) -> Any:
        known = name in (DEFAULT, "exact") and options.get("precision", "float32") in PRECISIONS
        return exact if known else load_prior(name, **options)

    with tempfile.TemporaryDirectory(dir=args.folder) as folder, contextlib.ExitStack() as stack:
        work = Path(folder)
        given, seen = commands(work), set[str]()
        save_prior(tiny_prior(), work / "prior")
        watch = Watch(work, os.path.realpath("/proc/self"))
        stack.enter_context(cache_in(work))
        stack.enter_context(contextlib.chdir(work))
        stack.enter_context(mock.patch("code_jax.priors.load.load_prior", loaded))
        for place in _ENDS:
            stack.enter_context(mock.patch(place, side_effect=UserError("it would begin")))
        places = {"PIPE": work / "pipe", "FOLDER": work / "in", "PICTURE": work / "in" / "p00.png", "TEXT": work / "text"}
        places["TEXT"].write_text("no picture")
        os.mkfifo(places["PIPE"])
        for words in lines(given, args.commands.split(",") if args.commands else list(given)):
            shutil.rmtree(work / "OUT", ignore_errors=True)
            limit = LIMIT if words[0] in seen else 600  # the first compiles
            watch.command(words[0], *(str(places.get(word, word)) for word in words), limit=limit)
            seen.add(words[0])
        sound = watch.report()
    sys.exit(not sound)


if __name__ == "__main__":
    main()
