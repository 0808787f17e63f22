"""``code-jax info``: where a result comes from and the command that makes it again, or what a folder of results holds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from code_jax.cli.arguments import path

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
    parser.add_argument("result", type=path, metavar="RESULT", help="a picture that code-jax wrote, or an --out")
    parser.add_argument("--input", type=path, metavar="PICTURE", help="what it was made from, checked by its hash")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints a line for each fact, and of a picture the command."""
    if args.result.is_dir():
        return _tell(args.result)
    from code_jax.errors import UserError, brief, printable
    from code_jax.pictures.provenance import read_facts
    from code_jax.runs.commands import command_of

    facts = read_facts(args.result)
    if args.input and not _is_of(args.input, args.result, facts):
        raise UserError(f"{str(args.result)!r} was not made from {str(args.input)!r}: the pixels' hashes differ")
    for name, value in (facts | facts.get("settings", {})).items():
        if name != "settings":
            shown = "none" if value is None else value if isinstance(value, str) else brief(value)
            print(f"{printable(name):18} {printable(shown)}")
    print(f"\n{command_of(facts, str(args.input or 'INPUT'))}")
    return 0


def _tell(folder: Path) -> int:
    from code_jax.errors import printable
    from code_jax.runs.account import account_of

    for name, value in account_of(folder):
        print(printable(f"{name:26} {value}"))
    return 0


def _is_of(picture: Path, result: Path, facts: dict[str, Any]) -> bool:
    """Whether a result's facts tell of these pixels, as a prior of any number of channels sees them."""
    import hashlib

    from code_jax.errors import UserError
    from code_jax.pictures.files import open_picture
    from code_jax.pictures.fitting import eight_bits, fitted, with_alpha
    from code_jax.pictures.loading import PictureError

    try:
        # What the prior saw, where the result was brought back to another size.
        height, width = facts["size"] if "size" in facts else open_picture(result).pixels.shape[:2]
        pixels, alpha, *_ = open_picture(picture)
    except PictureError as error:
        raise UserError(f"{str(picture)!r} cannot be read: {error}") from error
    for channels in (3, 1) if alpha is None else (3, 1, 4):
        shape = height, width, channels
        seen = fitted(with_alpha(pixels, alpha, channels), shape, facts.get("settings", {}).get("fit", "resize"))
        if hashlib.sha256(eight_bits(seen, channels).tobytes()).hexdigest() == facts.get("input_hash"):
            return True
    return False
