"""``code-jax convert``: between diffusers' folders and our checkpoints, and from files of guided-diffusion weights."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from code_jax.errors import UserError

_EPILOG = """examples:
  code-jax convert google/ddpm-cifar10-32 cifar10
  code-jax convert 256x256_diffusion_uncond.pt imagenet --head-channels 64
  code-jax convert cifar10 cifar10-diffusers --to diffusers

A file of guided-diffusion weights has no config: its network is inferred from
the tensors' shapes, all but the heads of its attention, which have to be told.
No code in any file is run, and PyTorch is not needed.
"""
_FACTS = ("image_size", "head_channels", "num_heads", "attention_order", "noise_schedule")


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "convert",
        help="convert the weights of a prior",
        epilog=_EPILOG,
    )
    parser.add_argument("source", help="bundled name, folder, hub id or .pt file")
    parser.add_argument("dest", help="the folder to write, new or empty")
    parser.add_argument("--to", choices=("orbax", "diffusers"), default="orbax", help="format to write (default: orbax, ours)")
    parser.add_argument("--revision", help="branch, tag or commit of a hub id")
    add = parser.add_argument_group("what guided-diffusion weights do not tell").add_argument
    add("--image-size", type=int, help="side of the training images (default: 256)")
    add("--head-channels", type=int, help="channels of an attention head")
    add("--num-heads", type=int, help="heads of every attention, in its place")
    add("--attention-order", metavar="legacy|new", help="of the rows of qkv (default: legacy)")
    add("--noise-schedule", metavar="linear|cosine", help="of the 1000 steps (default: linear)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Converts, strictly."""
    from code_jax.priors.load import load_prior
    from code_jax.priors.read import read_weights_file
    from code_jax.priors.save import check_new, save_prior

    check_new(Path(args.dest))  # before gigabytes are read
    facts = {name: getattr(args, name) for name in _FACTS if getattr(args, name) is not None}
    if Path(args.source).is_file():
        prior = read_weights_file(args.source, **facts)
    elif facts:
        raise UserError(f"--{next(iter(facts)).replace('_', '-')} is for guided-diffusion weights, not for {args.source}")
    else:
        prior = load_prior(args.source, revision=args.revision)
    save_prior(prior, args.dest, format=args.to)
    print(f"wrote {args.dest}")
    return 0
