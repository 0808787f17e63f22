"""``code-jax statistics``: what a prior finds of noise and of strangeness in pictures."""

from __future__ import annotations

import argparse
import functools
import math
import os
import sys
from pathlib import Path
from typing import Any

from code_jax.cli.arguments import path
from code_jax.cli.readings import Facts, Form, add_inputs, add_run, prepared, tell

_DESCRIPTION = """Tells of each picture the deviation of its noise (of values in [-1, 1], by its
finest wavelet), and where the prior is calibrated (code-jax calibrate): the
noise level sigma from which on it looks clean, and which share of clean
pictures is at least as strange. A picture of a share under 1 % is unlike what
the prior knows. --json tells residuals, the encoding and moments as well."""
_EPILOG = """examples:
  code-jax statistics photo.png
  code-jax statistics folder --prior run/prior --json
"""
_BROKEN = "its statistics are not finite: the prior's weights are broken"
_LISTED = ("residual", "residual_bands", "encoding", "encoding_bands", "path")


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    about = "tell a picture's noise, and how strange it is"
    parser = commands.add_parser("statistics", help=about, description=_DESCRIPTION, epilog=_EPILOG)
    add_inputs(parser)
    parser.add_argument("--calibration", type=path, metavar="FILE", help="of the prior, where it is not beside it")
    add_run(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints a line for each picture; 1 if some cannot be read."""
    from code_jax.editing.statistics import NUM_STEPS, SIGMAS, picture_statistics
    from code_jax.errors import UserError
    from code_jax.runs.calibrations import load_calibration
    from code_jax.runs.gauge import Gauge
    from code_jax.runs.sources import find_sources

    sources = find_sources(args.inputs, Path(os.devnull))
    prior, size = prepared(args)
    calibration = None
    settings: dict[str, Any] = {"sigmas": list(SIGMAS), "num_steps": NUM_STEPS}
    try:
        calibration = load_calibration(args.prior, prior, args.calibration)
        settings = {name: calibration.settings[name] for name in settings}
        if calibration.settings.get("fit", args.fit) != args.fit:
            print(f"code-jax: warning: the calibration is of --fit {calibration.settings['fit']}", file=sys.stderr)
    except UserError as error:
        if args.calibration is not None:
            raise
        print(f"code-jax: warning: {error}", file=sys.stderr)
    gauge = Gauge.on_devices(functools.partial(picture_statistics, **settings), prior, args.seed, size, len(sources))
    facts = functools.partial(_facts, calibration=calibration, prior=prior)
    return tell(args, sources, gauge, settings, Form(facts, _BROKEN, "  noise   sigma  at least as strange", _row, _end))


def _facts(found: Any, calibration: Any, prior: Any) -> Facts | None:
    import jax
    import numpy as np

    if not all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found)):
        return None
    facts: Facts = {"noise": round(float(found.noise), 6)}
    facts |= {name: np.round(np.asarray(getattr(found, name), float), 6).tolist() for name in _LISTED}
    if calibration is not None:
        one = jax.tree.map(lambda leaf: np.asarray(leaf)[None], found)
        level, outside, distance, typicality = (each[0] for each in calibration.judge(prior, one))
        facts |= {"level": round(float(level), 6) if math.isfinite(level) else None, "outside": outside.tolist()}
        facts |= {"distance": round(float(distance), 4), "typicality": round(float(typicality), 4)}
    return facts


def _row(line: Facts) -> str:
    if "typicality" not in line:
        return f"{line['noise']:7.3f}       -                    -"
    level = "none" if line["level"] is None else f"{line['level']:.3f}"
    return f"{line['noise']:7.3f}{level:>8}{line['typicality']:>21.1%}"


def _end(done: list[Facts], failed: int) -> str:
    strange = sum(line.get("typicality", 1) < 0.01 for line in done)
    return f"{len(done)} pictures, failed {failed}" + (f", unlike what the prior knows: {strange}" if strange else "")
