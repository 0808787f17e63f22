"""``code-jax try``: restores the pictures that come with the package, and says what to look at."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from code_jax.cli import restore
from code_jax.cli.arguments import folder
from code_jax.cli.parser import Parser

_EPILOG = """examples:
  code-jax try
  code-jax try --out elsewhere
"""
_LOOK = """
Look at {out}/report.html in a browser: a slider for each picture; {out}/contact_sheet.png shows all at once.
Noise and speckle fade, and PSNR rises. Of blur, fog and low contrast little is mended, and scratches and missing
blocks stay: mark them in a mask (--mask MASK, or code-jax demo), and what is under it is made anew.
Next: code-jax restore YOUR_PICTURE --out DIR --report
"""


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("try", help="restore the pictures that come with the package", epilog=_EPILOG)
    parser.add_argument("--out", type=folder, default=Path("restored"), help="folder for the results (default: ./restored)")
    parser.add_progress()
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Restores; the status is that of ``code-jax restore``."""
    from code_jax.priors.load import bundled_samples

    parser = Parser(prog="code-jax")
    restore.add_to(parser.add_subparsers(parser_class=Parser))
    samples = str(bundled_samples()[0].parent)
    words = ["restore", samples, "--out", str(args.out), "--report"]
    status = restore.run(parser.parse_args(words))
    if status == 0:
        print(_LOOK.format(out=args.out), end="")
    return status
