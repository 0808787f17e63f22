"""``code-jax merge``: the manifests of several processes become one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from code_jax.cli.arguments import at
from code_jax.errors import UserError

_EPILOG = """examples:
  code-jax restore folder --out restored --shard 1/2
  code-jax restore folder --out restored --shard 2/2
  code-jax merge restored
"""


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("merge", help="join the manifests that runs with --shard left", epilog=_EPILOG)
    parser.add_argument("folder", type=at, metavar="DIR", help="the --out of these runs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Joins; 1 if some inputs failed."""
    from code_jax.runs.manifest import merge

    if isinstance(args.folder, Path) and not args.folder.is_dir():
        raise UserError(f"{str(args.folder)!r} is no folder")
    done, failed = merge(args.folder)
    where = args.folder / ("manifest.jsonl" if isinstance(args.folder, Path) else "manifest")
    print(f"{done} results, failed {failed}; {str(where)!r} tells of all")
    return 1 if failed else 0
