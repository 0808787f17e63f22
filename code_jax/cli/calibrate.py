"""``code-jax calibrate``: what a prior finds of clean pictures, so that others can be told from them."""

from __future__ import annotations

import argparse
import os
from typing import Any

from code_jax.cli.arguments import check_batch_size, check_seed, count, path
from code_jax.cli.runtime import keep_compiled, use_cores

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
    add("--fit", choices=("resize", "crop"), default="resize", help="squash, or take the centre")
    add("--num-steps", type=count, default=10, help="steps of the encoding (default: 10)")
    add("--seed", type=count, default=0, help="noise comes from it and the pixels")
    run_of = parser.details("details of the run")
    run_of.add_argument("--batch-size", type=count, help="pictures on a device at a time (default: 1 on a CPU, or 8)")
    parser.add_progress(run_of)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measures, and writes the file."""
    from code_jax.errors import UserError
    from code_jax.priors.load import load_prior
    from code_jax.runs.calibrations import calibrate, default_path, write_calibration
    from code_jax.runs.micro_batch import default_micro_batch

    check_batch_size(args.batch_size)
    check_seed(args.seed)
    if args.out is not None and os.path.isdir(args.out):
        raise UserError(f"--out {str(args.out)!r} is a folder; name a file, which may be in it")
    keep_compiled()
    use_cores()
    prior = load_prior(args.prior)
    size = args.batch_size or default_micro_batch()
    found = calibrate(prior, args.pictures, args.fit, args.seed, size, num_steps=args.num_steps)
    file = args.out or default_path(args.prior, prior)
    write_calibration(found, file)
    print(f"calibrated on {found.pictures} pictures; wrote {str(file)!r}")
    return 0
