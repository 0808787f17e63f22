"""``code-jax likelihood``: how likely a prior finds pictures, in bits per dimension."""

from __future__ import annotations

import argparse
import functools
import math
import os
from pathlib import Path
from typing import Any

from code_jax.cli.arguments import count
from code_jax.cli.readings import Facts, Form, add_inputs, add_run, prepared, tell
from code_jax.cli.settings import add_option, warn_of_precision
from code_jax.editing.options import OPTIONS

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
    add_inputs(parser)
    parser.add_argument("--probes", type=_probes, default=2, metavar="N|exact", help="for the trace: +- is theirs (default: 2)")
    seldom = parser.details("details of the method")
    for name in _SETTINGS:
        add_option(seldom, OPTIONS[name])
    run_of = add_run(parser, ("resize", "crop", "tile"))
    run_of.add_argument("--precision", default="float32", metavar="float32|bfloat16", help="inside the network")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints a line for each picture; 1 if some cannot be read."""
    from code_jax.editing.likelihood import log_likelihood
    from code_jax.runs.gauge import Gauge
    from code_jax.runs.sources import find_sources

    sources = find_sources(args.inputs, Path(os.devnull))
    options = {name: getattr(args, name) for name in _SETTINGS if getattr(args, name) is not None} | {"probes": args.probes}
    prior, size = prepared(args)
    warn_of_precision(args.precision)
    measure, pictures = functools.partial(log_likelihood, **options), None if args.fit == "tile" else len(sources)
    gauge = Gauge.on_devices(measure, prior, args.seed, size, pictures)
    return tell(args, sources, gauge, options, Form(_facts, _BROKEN, "bits/dim      +-", _row, _end))


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
