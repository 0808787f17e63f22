"""``code-jax convert``: between diffusers' folders and our checkpoints."""

from __future__ import annotations

import argparse
from typing import Any


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("convert", help="convert a prior: diffusers' folder to our checkpoint, or back")
    parser.add_argument("source", help="a bundled name, a folder or a hub id")
    parser.add_argument("dest", help="the folder to write")
    parser.add_argument("--to", choices=("orbax", "diffusers"), default="orbax", help="format to write (default: orbax, ours)")
    parser.add_argument("--revision", help="branch, tag or commit of a hub id")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Converts, strictly."""
    from checkpoints_convert.checkpoint import write_checkpoint
    from checkpoints_convert.diffusers import write_diffusers
    from code_jax.priors.load import load_prior

    prior = load_prior(args.source, revision=args.revision)
    (write_diffusers if args.to == "diffusers" else write_checkpoint)(prior, args.dest)
    print(f"wrote {args.dest}")
    return 0
