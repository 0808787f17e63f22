"""``code-jax corrupt``: damages pictures in the ways of the paper's table."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from code_jax.cli.arguments import count
from code_jax.errors import UserError

_EPILOG = """examples:
  code-jax corrupt photo.png --out damaged --corruption fog --severity 3
  code-jax corrupt folder --out damaged --corruption all --compare
"""
_SHEET = 8  # pictures on the contact sheet, of 256 pixels at most


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("corrupt", help="damage pictures in one or all of the 47 ways", epilog=_EPILOG)
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="pictures and folders, sides from 32 to 1024 pixels")
    add("--out", type=Path, required=True, help="folder for the results")
    add("--corruption", required=True, metavar="NAME|all|A,B", help="a wrong name is answered with the nearest")
    add("--severity", type=count, default=5, help="1 to 5 (default: 5)")
    add("--seed", type=count, default=0, help="randomness comes from it and the pixels")
    add("--compare", action="store_true", help="write contact_sheet.png")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Corrupts; 1 if some inputs failed."""
    from PIL import Image

    from code_jax.corruptions.registry import NAMES, check_name, corrupt, picture_seed
    from code_jax.pictures.decode import PictureError
    from code_jax.pictures.files import read_picture, write_picture
    from code_jax.runs.sources import check_output, find_sources

    names = list(NAMES) if args.corruption == "all" else list(dict.fromkeys(args.corruption.split(",")))
    for name in names:
        check_name(name)
    for option, value, least, most in (("severity", args.severity, 1, 5), ("seed", args.seed, 0, 2**32 - 1)):
        if not least <= value <= most:
            raise UserError(f"--{option} is {value}; it must be from {least} to {most}")
    sources = find_sources(args.inputs, args.out)
    folders = {name: args.out / name if len(names) > 1 else args.out for name in names}
    targets = [
        (source, {name: folder / source.output.relative_to(args.out) for name, folder in folders.items()}) for source in sources
    ]
    check_output(args.out, [source._replace(output=path) for source, paths in targets for path in paths.values()])

    done, failed = 0, 0
    shown: list[Any] = []
    with open(args.out / "manifest.jsonl", "w", encoding="utf-8") as manifest:
        for source, paths in targets:
            try:
                clean = read_picture(source.path, None, "resize")
                seed = picture_seed(args.seed, clean)
                damaged = {name: corrupt(clean, name, args.severity, seed) for name in names}
            except (PictureError, UserError) as error:
                failed += 1
                print(f"code-jax: failed {str(source.path)!r}: {error}", file=sys.stderr)
                _note(manifest, input=str(source.path), output=None, status="failed", error=str(error))
                continue
            for name, picture in damaged.items():
                path = Path(f"{paths[name]}.png")
                write_picture(Image.fromarray(picture), path)
                facts = {"corruption": name, "severity": args.severity, "seed": args.seed, "picture_seed": seed}
                _note(manifest, input=str(source.path), output=str(path), status="done", **facts)
            done += 1
            if args.compare and len(shown) < _SHEET:
                shown.append((source.path.name, {"input": clean} | damaged))
    if shown:
        write_picture(_sheet(shown), args.out / "contact_sheet.png")
    print(f"corrupted {done} in {len(names)} way{'s' * (len(names) > 1)}, failed {failed}; results are in {args.out}")
    return 1 if failed else 0


def _note(manifest: Any, **facts: Any) -> None:
    manifest.write(json.dumps(facts) + "\n")


def _sheet(shown: list[tuple[str, dict[str, Any]]]) -> Any:
    """A row for each corruption, a column for each picture; those of other sizes are fitted into one cell."""
    import numpy as np
    from PIL import Image, ImageOps

    from code_jax.pictures.contact_sheet import contact_sheet

    sizes = [next(iter(pictures.values())).shape[:2] for _, pictures in shown]
    cell = tuple(min(256, max(size[axis] for size in sizes)) for axis in (1, 0))

    def fitted(picture: np.ndarray) -> np.ndarray:
        same = picture.shape[1::-1] == cell
        return picture if same else np.asarray(ImageOps.pad(Image.fromarray(picture), cell, color="white"))

    rows = [(name, [fitted(pictures[name]) for _, pictures in shown], [""] * len(shown)) for name in shown[0][1]]
    return contact_sheet([label for label, _ in shown], rows)
