"""``code-jax demo``: the method on a local web page."""

from __future__ import annotations

import argparse
import importlib.util
from typing import Any

from code_jax.cli.arguments import count
from code_jax.cli.runtime import keep_compiled, set_flags
from code_jax.errors import UserError
from code_jax.priors import DEFAULT

_EPILOG = """examples:
  code-jax demo
  code-jax demo --prior eurosat-64 --prior run/prior --port 8000
  code-jax demo --host 0.0.0.0            # from a phone in the same network
  code-jax demo --allow-host NAME         # by a proxy's name for this machine

With --host or --allow-host the printed address holds a random token, and
nobody gets in without it.
"""


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("demo", help="open a web page on this machine", epilog=_EPILOG)
    add = parser.add_argument
    add("--prior", action="append", help="one to offer; may be repeated (default: all that come with the package)")
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="listen there (default: 127.0.0.1, this machine alone)")
    add("--allow-host", action="append", default=[], metavar="NAME", help="a proxy's name for this machine; may be repeated")
    add("--port", type=count, default=7860, help="default: 7860; 0 takes a free one")
    add("--precision", default="float32", metavar="float32|bfloat16", help="inside the network")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serves the page until it is interrupted."""
    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"the demo needs {' and '.join(missing)}: pip install 'code-jax[demo]'")
    if not 0 <= args.port < 65536:
        raise UserError(f"--port is {args.port}; it must be from 0 to 65535")

    from code_jax.demo.server import serve
    from code_jax.priors.load import bundled_priors

    names = list(dict.fromkeys(args.prior or [DEFAULT, *bundled_priors()]))
    return serve(names, args.precision, args.host, args.port, args.allow_host, prepare)


def prepare() -> None:
    """What every command asks of JAX, in the process that computes for the page."""
    set_flags()
    keep_compiled()
