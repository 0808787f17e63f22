"""``code-jax calibrate``: what a prior finds of clean pictures, so that others can be told from them."""

from __future__ import annotations

import argparse
import os
from typing import Any

from code_jax.cli.arguments import count, path
from code_jax.cli.readings import add_run, prepared

_DESCRIPTION = """Measures the statistics of clean pictures that a prior was not trained on, 30
or more, for `code-jax statistics` to tell noise and strangeness by. It holds
for these weights and settings alone, and is written beside the prior: into its
folder, or the cache where it has none."""
_EPILOG = """examples:
  code-jax calibrate run/prior held-out
  code-jax calibrate eurosat-64 test.zip --out calibration.json
"""


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    about = "measure what a prior finds of clean pictures"
    parser = commands.add_parser("calibrate", help=about, description=_DESCRIPTION, epilog=_EPILOG)
    add = parser.add_argument
    add("prior", metavar="PRIOR", help="bundled name, hub id, folder")
    add("pictures", type=path, nargs="+", metavar="PICTURES", help="folders and zip archives of clean pictures")
    add("--out", type=path, metavar="FILE", help="file to write instead")
    add("--num-steps", type=count, default=10, help="steps of the encoding (default: 10)")
    add_run(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measures, and writes the file."""
    from code_jax.errors import UserError
    from code_jax.runs.calibrations import calibrate, default_path, write_calibration

    if args.out is not None and os.path.isdir(args.out):
        raise UserError(f"--out {str(args.out)!r} is a folder; name a file, which may be in it")
    prior, size = prepared(args)
    found = calibrate(prior, args.pictures, args.fit, args.seed, size, num_steps=args.num_steps)
    file = args.out or default_path(args.prior, prior)
    write_calibration(found, file)
    print(f"calibrated on {found.pictures} pictures; wrote {str(file)!r}")
    return 0
