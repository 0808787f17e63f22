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

    print(f"{'prior':34}{'of':10}{'pixels':>8}{'MB':>6}{'time':>8}  licence")
    for place, entries in itertools.groupby(catalogue(), key=lambda entry: entry.place):
        print(_PLACES[place])
        for entry in entries:
            pixels, memory = "x".join(map(str, entry.size)), "?" if entry.memory is None else f"{entry.memory:.0f}"
            domain, licence = entry.domain or "?", entry.licence or "?"
            print(f"  {entry.name:32}{domain:10}{pixels:>8}{memory:>6}{_time(entry.seconds):>8}  {licence}")
    print("MB of weights in float32 and of the work on a picture, computed by the compiler;\n"
          "time of an evaluation of a picture on two cores of an AMD EPYC, measured there or\n"
          "(~) computed from its operations. ?: see its card")  # fmt: skip
    return 0


def _time(seconds: tuple[float, bool] | None) -> str:
    if seconds is None:
        return "?"
    value, measured = seconds
    return f"{'' if measured else '~'}{value:.2g} s" if value >= 0.1 else f"{'' if measured else '~'}{1e3 * value:.2g} ms"
