"""``code-jax corrupt``: damages pictures in the ways of the paper's table."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Iterator
from typing import Any

from code_jax.cli.arguments import count, folder
from code_jax.errors import UserError

_EPILOG = """examples:
  code-jax corrupt photo.png --out damaged --corruption fog --severity 3
  code-jax corrupt photo.png --out all --corruption all --compare   # a sheet
"""


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("corrupt", help="damage pictures in one or all of the 47 ways", epilog=_EPILOG)
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="pictures and folders, sides from 32 to 1024 pixels")
    add("--out", type=folder, required=True, help="folder for the results and manifest.jsonl")
    add("--corruption", required=True, action=_OrList, metavar="NAME|all|list", help="or A,B; all are the paper's 47")
    add("--severity", type=count, default=5, help="1 to 5 (default: 5)")
    add("--seed", type=count, default=0, help="randomness comes from it and the pixels")
    add("--compare", action="store_true", help="write contact_sheet.png")
    parser.add_progress()
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Corrupts; 1 if some inputs failed."""
    from code_jax.corruptions.registry import NAMES, check_name
    from code_jax.runs.corrupt import corrupt_files
    from code_jax.runs.sources import find_sources

    names = list(NAMES) if args.corruption == "all" else list(dict.fromkeys(args.corruption.split(",")))
    for name in names:
        check_name(name)
    for option, value, least, most in (("severity", args.severity, 1, 5), ("seed", args.seed, 0, 2**32 - 1)):
        if not least <= value <= most:
            raise UserError(f"--{option} is {value}; it must be from {least} to {most}")
    sources = find_sources(args.inputs, args.out)
    done, failed = corrupt_files(sources, args.out, names, args.severity, args.seed, compare=args.compare)
    pictures, ways = f"{done} picture{'s' * (done != 1)}", f"{len(names)} way{'s' * (len(names) != 1)}"
    print(f"corrupted {pictures} in {ways}, failed {failed}; results are in {str(args.out)!r}")
    return 1 if failed else 0


class _OrList(argparse.Action):
    """Takes the names, or prints what there is."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        if values == "list":
            print("\n".join(_list(shutil.get_terminal_size().columns)))
            parser.exit()
        setattr(namespace, self.dest, values)


def _list(columns: int) -> Iterator[str]:
    """Every corruption by family, each with a sentence; those that are not in the paper's table, which "all" is, are marked."""
    from code_jax.corruptions.registry import ALL_NAMES, FAMILIES, NAMES, sentence

    indent = max(map(len, ALL_NAMES)) + 4
    for family, members in FAMILIES.items():
        yield f"{family.replace('bar_', 'ImageNet-C-bar: ')}"
        for name in members:
            told = sentence(name) + ("" if name in NAMES else " (Not of the paper's table.)")
            words = textwrap.wrap(told, max(columns - indent - 1, 30))
            yield f"  {name:{indent - 2}}{words[0]}"
            yield from (" " * indent + line for line in words[1:])
