"""``code-jax info``: where a result comes from and the command that makes it again, or what a folder of results holds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

_EPILOG = """examples:
  code-jax info restored
  code-jax info restored/photo.png
  code-jax info restored/photo.png --input photo.png   # is it this one's?
"""


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "info",
        help="tell where a result, or a folder of results, comes from",
        epilog=_EPILOG,
    )
    parser.add_argument("result", type=Path, metavar="RESULT", help="a picture that code-jax wrote, or an --out")
    parser.add_argument("--input", type=Path, metavar="PICTURE", help="what it was made from, checked by its hash")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints a line for each fact, and of a picture the command."""
    if args.result.is_dir():
        return _tell(args.result)
    from code_jax.errors import UserError
    from code_jax.pictures.provenance import command_of, read_facts

    facts = read_facts(args.result)
    if args.input and _hash(args.input, args.result, facts) != facts.get("input_hash"):
        raise UserError(f"{args.result} was not made from {args.input}: the pixels' hashes differ")
    for name, value in facts.items():
        if name != "settings":
            print(f"{name:18} {value}")
    for name, value in facts.get("settings", {}).items():
        print(f"{name:18} {'none' if value is None else value}")
    print(f"\n{command_of(facts, str(args.input or 'INPUT'))}")
    return 0


def _tell(folder: Path) -> int:
    from code_jax.errors import printable
    from code_jax.runs.account import account_of

    for name, value in account_of(folder):
        print(printable(f"{name:26} {value}"))
    return 0


def _hash(picture: Path, result: Path, facts: dict[str, Any]) -> str:
    import hashlib

    from PIL import Image

    from code_jax.errors import UserError
    from code_jax.pictures.decode import PictureError
    from code_jax.pictures.files import read_picture

    with Image.open(result) as opened:
        width, height = opened.size
    height, width = facts.get("size", (height, width))  # what the prior saw, where the result was brought back to another size
    try:
        pixels = read_picture(picture, (height, width, 3), facts.get("settings", {}).get("fit", "resize"))
    except PictureError as error:
        raise UserError(f"{picture} cannot be read: {error}") from error
    return hashlib.sha256(pixels.tobytes()).hexdigest()
