"""``code-jax priors``: which priors there are to choose from."""

from __future__ import annotations

import argparse
import itertools
from typing import Any

_EPILOG = """examples:
  code-jax priors
  code-jax restore photo.png --out restored --prior google/ddpm-ema-celebahq-256

A hub id or folder in diffusers' layout, and a file of score_sde, EDM, EDM2, DiT
or guided-diffusion, is a prior too.
"""
_PLACES = {
    "bundled": "bundled",
    "cached": "in the cache",
    "hub": "on the hub",
    "file": "files, from those who made them (code-jax convert --help)",
}


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("priors", help="list the priors that are bundled, cached and known", epilog=_EPILOG)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints a line for each prior."""
    from code_jax.priors.catalogue import catalogue

    print(f"{'prior':34}{'of':10}{'pixels':>8}{'MB':>6}{'GFLOP':>7}  licence")
    for place, entries in itertools.groupby(catalogue(), key=lambda entry: entry.place):
        print(_PLACES[place])
        for entry in entries:
            pixels, weights = "x".join(map(str, entry.size)), f"{4 * entry.parameters / 1e6:.0f}"
            evaluation = "?" if entry.evaluation is None else f"{entry.evaluation:g}"
            domain, licence = entry.domain or "?", entry.licence or "?"
            print(f"  {entry.name:32}{domain:10}{pixels:>8}{weights:>6}{evaluation:>7}  {licence}")
    print("MB of weights in float32; GFLOP of an evaluation at one picture, computed: it\n"
          "takes as many seconds as GFLOP over what a device sustains in GFLOP/s. ?: see its\ncard")  # fmt: skip
    return 0
