"""``code-jax likelihood``: how likely a prior finds pictures, in bits per dimension."""

from __future__ import annotations

import argparse
import functools
import math
import os
from pathlib import Path
from typing import Any

from code_jax.cli.arguments import check_batch_size, check_seed, count
from code_jax.cli.readings import Facts, print_objects, print_table, told
from code_jax.cli.runtime import keep_compiled, use_cores
from code_jax.cli.settings import add_option, warn_of_precision
from code_jax.editing.options import OPTIONS
from code_jax.priors import DEFAULT

_DESCRIPTION = """Tells the density that a prior gives to pictures with noise of its first level
sigma_0, in bits per dimension of 8-bit values: -log2 p/D + log2 127.5, as a
level is 127.5(x + 1) for x in [-1, 1]. Fewer bits are likelier, and likelier
is not better: smooth pictures are likelier than photographs. sigma_0 = 0.01
is 1.3 levels, wider than what quantization leaves open, so that these are no
published bits per dimension; the noise alone has the floor that is told."""
_EPILOG = """examples:
  code-jax likelihood photo.png
  code-jax likelihood folder --prior pictures-64 --json
"""
_SETTINGS = ("num_steps", "solver", "grid", "input_noise")
_BROKEN = "its likelihood is not finite: the prior's weights are broken"


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    about = "tell how likely a prior finds pictures"
    parser = commands.add_parser("likelihood", help=about, description=_DESCRIPTION, epilog=_EPILOG)
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="pictures and folders of pictures")
    add("--prior", default=DEFAULT, help=f"name, hub id, folder, file (default: {DEFAULT})")
    add("--fit", choices=("resize", "crop", "tile"), default="resize", help="squash, take the centre, or windows")
    add("--seed", type=count, default=0, help="noise and probes come from it and the pixels")
    add("--probes", type=_probes, default=2, metavar="N|exact", help="for the trace, of which +- is told (default: 2)")
    add("--json", action="store_true", help="print a JSON object a picture, not a table")
    seldom = parser.details("details of the method")
    for name in _SETTINGS:
        add_option(seldom, OPTIONS[name])
    run_of = parser.details("details of the run")
    add = run_of.add_argument
    add("--batch-size", type=count, help="pictures on a device at a time (default: 1 on a CPU, or 8)")
    add("--precision", default="float32", metavar="float32|bfloat16", help="inside the network")
    parser.add_progress(run_of)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints a line for each picture; 1 if some cannot be read."""
    from code_jax.editing.likelihood import log_likelihood
    from code_jax.priors.hash import prior_hash
    from code_jax.priors.load import load_prior
    from code_jax.runs.gauge import Gauge, readings
    from code_jax.runs.micro_batch import default_micro_batch
    from code_jax.runs.sources import find_sources

    check_batch_size(args.batch_size)
    check_seed(args.seed)
    sources = find_sources(args.inputs, Path(os.devnull))
    options = {name: getattr(args, name) for name in _SETTINGS if getattr(args, name) is not None} | {"probes": args.probes}
    keep_compiled()
    use_cores()
    prior = load_prior(args.prior, precision=args.precision)
    warn_of_precision(args.precision)
    size = args.batch_size or default_micro_batch()
    measure, pictures = functools.partial(log_likelihood, **options), None if args.fit == "tile" else len(sources)
    gauge = Gauge.on_devices(measure, prior, args.seed, size, pictures)
    lines = told(readings(sources, gauge, args.fit), _facts, len(sources), args.progress, _BROKEN)
    if args.json:
        noted = {name: getattr(args, name) for name in ("prior", "precision", "fit")} | options
        common = {"settings": noted, "prior_hash": prior_hash(prior), "seed": args.seed, "micro_batch": size}
        return print_objects(lines, common)
    return print_table(lines, "bits/dim      +-", _row, _end)


def _facts(found: Any) -> Facts | None:
    if not math.isfinite(found.log_density):
        return None
    numbers = {"bits": found.bits, "standard_error": found.standard_error, "log_density": found.log_density, "floor": found.floor}
    return {name: round(float(value), 6) for name, value in numbers.items()}


def _row(line: Facts) -> str:
    return f"{line['bits']:8.4f}{line['standard_error']:8.4f}"


def _end(done: list[Facts], failed: int) -> str:
    mean = sum(line["bits"] for line in done) / len(done)
    return f"mean {mean:.4f} of {len(done)}, failed {failed}; noise of sigma_0 alone: {done[0]['floor']:.4f}"


def _probes(text: str) -> int | None:
    return None if text == "exact" else count(text)
