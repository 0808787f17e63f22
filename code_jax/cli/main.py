"""The ``code-jax`` command: parses, and hands over to one module a command."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence

from code_jax import progress
from code_jax.cli import (
    bench,
    calibrate,
    completion,
    convert,
    corrupt,
    demo,
    evaluate,
    info,
    likelihood,
    merge,
    priors,
    restore,
    statistics,
    sweep,
    train,
    trial,
)
from code_jax.cli.frame import framed, warn
from code_jax.cli.parser import Parser
from code_jax.cli.runtime import import_libraries, set_flags
from code_jax.version import __version__

_QUICK = (completion.run, info.run, merge.run)  # which compute nothing
_EPILOG = """examples:
  code-jax try
  code-jax restore photo.png --out restored
  code-jax restore photo.png --help
"""


def parser_of_all() -> Parser:
    """The parser of the whole command line."""
    parser = Parser(prog="code-jax", description="Blind image restoration and editing with diffusion priors.", epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"code-jax {__version__}")
    commands = parser.add_subparsers(title="commands", prog="code-jax", metavar="COMMAND", required=True, parser_class=Parser)
    for command in (
        trial, restore, merge, sweep, likelihood, statistics, calibrate, demo, info, corrupt, evaluate, train, bench, convert,
        priors, completion,
    ):  # fmt: skip
        command.add_to(commands)
    return parser


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments of a command line; raises UserError for wrong ones."""
    return parser_of_all().parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; its exit status: 0 all done, 1 some inputs failed, 2 wrong usage, 128 + n ended by signal n."""
    return framed(lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        parser_of_all().print_help(sys.stderr)
        return 2
    args = parse(words)
    args.words = words
    progress.use(getattr(args, "progress", "auto"))
    if args.run not in _QUICK:
        import_libraries()
        set_flags()
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: warn(message)
        warnings.filterwarnings("ignore", module="PIL")  # what matters of them is in a picture's own
        return int(args.run(args))
