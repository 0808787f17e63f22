"""``code-jax convert``: any prior that can be loaded, as a folder of diffusers or of ours."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path
from typing import Any

from code_jax.cli.arguments import count, path
from code_jax.errors import UserError

_EPILOG = """examples:
  code-jax convert google/ddpm-cifar10-32 cifar10
  code-jax convert 256x256_diffusion_uncond.pt imagenet --head-channels 64
  code-jax convert checkpoint_26.pth cifar10 --sde vp --image-size 32
  code-jax convert edm-ffhq-64x64-uncond-vp.pkl ffhq

A file's network is inferred from its tensors' shapes, but for what they do not
tell. No code in any file is run, and PyTorch is not needed.
"""
_FACTS: dict[str, tuple[str, dict[str, Any]]] = {  # what is told of a file, and what it is told by
    "image_size": ("side of the training images (guided-diffusion: 256)", {"type": count}),
    "codec": ("autoencoder of a network of latents: folder or hub id", {"metavar": "PRIOR"}),
    "sde": ("of score_sde's DDPM++", {"metavar": "vp|sub-vp"}),
    "fir": ("whether score_sde's network filters as it resizes", {"action": argparse.BooleanOptionalAction}),
    "precondition": ("of EDM's weights outside their pickle", {"metavar": "CLASS"}),
    "head_channels": ("channels of an attention head", {"type": count}),
    "num_heads": ("heads of every attention, in its place", {"type": count}),
    "attention_order": ("of the rows of qkv (default: legacy)", {"metavar": "legacy|new"}),
    "noise_schedule": ("of the 1000 steps (default: linear)", {"metavar": "linear|cosine"}),
}


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "convert",
        help="convert the weights of a prior",
        epilog=_EPILOG,
    )
    parser.add_argument("source", help="bundled name, folder, hub id or file of weights")
    parser.add_argument("dest", help="the folder to write, new or empty")
    parser.add_argument("--to", choices=("orbax", "diffusers"), default="orbax", help="format to write (default: orbax, ours)")
    parser.add_argument("--revision", help="branch, tag or commit of a hub id")
    parser.add_argument("--measure", type=path, metavar="PICTURES", help="clean ones, to find a latent prior's range")
    add = parser.add_argument_group("what a file's weights do not tell").add_argument
    for name, (about, options) in _FACTS.items():
        add(f"--{name.replace('_', '-')}", help=about, **options)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Converts, strictly."""
    from code_jax.priors.load import load_prior
    from code_jax.priors.save import check_new, save_prior

    check_new(Path(args.dest))  # before gigabytes are read
    facts = {name: getattr(args, name) for name in _FACTS if getattr(args, name) is not None}
    if facts and not Path(args.source).is_file():
        raise UserError(f"--{next(iter(facts)).replace('_', '-')} is told of a file of weights, which {args.source} is not")
    prior = load_prior(args.source, revision=args.revision, **facts)
    save_prior(prior if args.measure is None else _measured(prior, args.measure), args.dest, format=args.to)
    print(f"wrote {args.dest}")
    return 0


def _measured(prior: Any, pictures: Path) -> Any:
    """The prior with the range of its latents, measured on clean pictures."""
    import numpy as np

    from code_jax.pictures.files import read_picture
    from code_jax.pictures.fitting import as_floats
    from code_jax.pictures.loading import PictureError
    from code_jax.priors.autoencoding import codec_error, measure_range
    from code_jax.runs.result import psnr_of_codec
    from code_jax.runs.sources import find_sources

    if prior.codec is None:
        raise UserError("--measure is for latent priors; this one is of pixels, whose range is known")
    read = []
    for source in find_sources([pictures], Path(os.devnull)):
        try:
            read.append(as_floats(read_picture(source.path, prior.image_shape, "resize"), prior.image_shape[2]))
        except PictureError as error:
            raise UserError(f"{str(source.path)!r} cannot be measured: {error}") from error
    images: Any = np.stack(read)
    measured, psnr = measure_range(prior, images), psnr_of_codec(codec_error(prior, images))
    ranges = ", ".join(f"{each:.3g}" for each in np.ravel(measured.data_range))
    print(f"the latents of {len(images)} pictures lie within {ranges} (a number for each channel)")
    print(f"codec: PSNR of what it alone gives back, of all of them: {psnr or math.inf:.2f} dB")
    return measured
