"""``code-jax info``: where a result comes from, what a folder of results holds, or what would be done to any other picture."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from code_jax.cli.arguments import at
from code_jax.priors import DEFAULT
from code_jax.storage.address import Place

_EPILOG = """examples:
  code-jax info photo.png                              # what would be done
  code-jax info restored                               # what a run has done
  code-jax info restored/photo.png                     # and how to do it again
  code-jax info restored/photo.png --input photo.png   # is it this one's?
"""


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "info",
        help="tell of a picture, a result or a folder of results",
        epilog=_EPILOG,
    )
    parser.add_argument("path", type=at, metavar="PATH", help="a picture, before or after, or a folder of results")
    parser.add_argument("--input", type=at, metavar="PICTURE", help="what a result was made from, checked by its hash")
    parser.add_argument("--prior", default=DEFAULT, help=f"that would restore a picture (default: {DEFAULT})")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints a line for each fact, and of a picture the command."""
    from code_jax.pictures.provenance import NoFacts, read_facts

    if args.path.is_dir() if isinstance(args.path, Path) else args.path.find() is None:
        from code_jax.runs.account import account_of

        return _tell(account_of(args.path))
    try:
        facts = read_facts(args.path)
    except NoFacts:
        if args.input:
            raise
    else:
        return _tell_of_result(args, facts)
    from code_jax.runs.commands import command_of
    from code_jax.runs.outlook import outlook_of

    told = list(outlook_of(args.path, args.prior))
    return _tell(told, command_of({"settings": {"prior": args.prior}}, str(args.path), out="restored"))


def _tell_of_result(args: argparse.Namespace, facts: dict[str, Any]) -> int:
    from code_jax.errors import UserError
    from code_jax.runs.account import settings_in_words
    from code_jax.runs.commands import command_of

    if args.input and not _is_of(args.input, args.path, facts):
        raise UserError(f"{str(args.path)!r} was not made from {str(args.input)!r}: the pixels' hashes differ")
    plain = {name: value for name, value in (facts | facts.get("settings", {})).items() if name != "settings"}
    return _tell(settings_in_words(plain), command_of(facts, str(args.input or "INPUT")))


def _tell(facts: Iterable[tuple[str, str]], command: str | None = None) -> int:
    from code_jax.errors import printable

    for name, value in facts:
        print(printable(f"{name:24} {value}"))
    if command is not None:
        print(f"\n{command}")
    return 0


def _is_of(picture: Place, result: Place, facts: dict[str, Any]) -> bool:
    """Whether a result's facts tell of these pixels, as a prior of any number of channels sees them."""
    import hashlib
    import itertools

    from code_jax.errors import UserError
    from code_jax.pictures.files import open_picture
    from code_jax.pictures.fitting import eight_bits, fitted, with_alpha, within
    from code_jax.pictures.loading import PictureError

    try:
        # What the prior saw, where the result was brought back to another size.
        height, width = facts["size"] if "size" in facts else open_picture(result).pixels.shape[:2]
        pixels, alpha, *_ = open_picture(picture)
    except PictureError as error:
        raise UserError(f"{str(picture)!r} cannot be read: {error}") from error
    settings = facts.get("settings", {})
    fit, most = settings.get("fit", "resize"), settings.get("max_side")
    channels = (3, 1) if alpha is None else (3, 1, 4)
    for kind, number in itertools.product(("resize", "tile") if fit == "auto" else (fit,), channels):
        seen = fitted(within(with_alpha(pixels, alpha, number), most), (height, width, number), kind)
        if hashlib.sha256(eight_bits(seen, number).tobytes()).hexdigest() == facts.get("input_hash"):
            return True
    return False
