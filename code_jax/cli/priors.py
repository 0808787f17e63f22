"""``code-jax priors``: which priors there are to choose from."""

from __future__ import annotations

import argparse
from typing import Any

_EPILOG = """examples:
  code-jax priors
  code-jax restore photo.png --out restored --prior google/ddpm-ema-celebahq-256

A folder of diffusers weights, or any hub id of a UNet2DModel, is a prior too.
"""


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("priors", help="list the priors that are bundled, cached and known", epilog=_EPILOG)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints a line for each prior."""
    from code_jax.priors.catalogue import catalogue

    print(f"{'prior':29}{'pixels':>8}{'parameters':>12}{'float32':>9}  {'licence':13}place")
    for entry in catalogue():
        pixels, millions = "x".join(map(str, entry.size)), f"{entry.parameters / 1e6:.1f} M"
        size, licence = f"{4 * entry.parameters / 1e6:.0f} MB", entry.licence or "see its card"
        print(f"{entry.name:29}{pixels:>8}{millions:>12}{size:>9}  {licence:13}{entry.place}")
    return 0
