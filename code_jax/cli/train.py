"""``code-jax train``: a prior of one's own from folders and zips of pictures."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import signal
import sys
from typing import TYPE_CHECKING, Any

from code_jax.cli.arguments import count, folder, number
from code_jax.cli.runtime import keep_compiled
from code_jax.errors import UserError

if TYPE_CHECKING:
    from code_jax.models.config import UNet2DConfig
    from code_jax.priors.prior import Prior
    from code_jax.training.recipe import Recipe

_EPILOG = """HOW a source becomes pictures of the prior's size: whole, or
  margin=PIXELS                resized to so much more, and cropped at random
  patches=SCALE[*SHARE],...    cut at random from the picture reduced by a scale

examples:
  code-jax train --data tiles.zip --out run --augment turns --seconds 3600
  code-jax train --data tiles.zip --out run --augment turns --resume
  code-jax train --data photos --out tuned --init google/ddpm-ema-celebahq-256
  code-jax train --data faces:1:margin=6 --data photos:1:patches=1,2,4 --out run
  code-jax restore pictures --out restored --prior run/prior
"""


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("train", help="train a prior on pictures", epilog=_EPILOG)
    add = parser.add_argument
    add("--data", required=True, action="append", metavar="PATH[:SHARE][:HOW]", help="folder or zip of pictures; HOW below")
    add("--out", type=folder, required=True, help="folder for checkpoints, losses.csv and prior")
    add("--config", default="small", metavar="NAME|FILE", help="small (default), pictures, base, celebahq-256")
    add("--init", metavar="PRIOR", help="fine-tune this prior")
    add("--resume", action="store_true", help="go on with the training in --out")
    add("--seconds", type=number, help="stop in time; --resume goes on")
    add("--precision", choices=("float32", "bfloat16"), default="float32", help="inside the network")
    add("--held-out", type=count, default=1000, help="pictures of each source to validate on")
    add("--every", type=count, default=500, help="steps between checkpoints (default: 500)")
    add("--keep", type=count, default=2, help="last checkpoints kept, beside the best")
    add("--seed", type=count, default=0, help="default: 0")

    add = parser.details("in place of the recipe's").add_argument
    add("--steps", type=count, help="in all; the learning rate falls to 0 over them")
    add("--batch-size", type=count, help="pictures a step, all devices together")
    add("--learning-rate", type=number, help="peak of the learning rate")
    add("--hold", type=number, metavar="SHARE", help="of the steps, before the rate falls linearly")
    add("--optimizer", metavar="adamw|muon", help="muon: for hidden matrices, beside AdamW")
    add("--prediction-type", metavar="NAME", help="epsilon, v_prediction or sample")
    add("--min-snr-gamma", type=number, help="weigh the loss by min(SNR, X)")
    add("--schedule", metavar="linear|cosine", help="noise schedule")
    add("--lower-half", type=number, metavar="SHARE", help="of the noise levels from the lower half")
    add("--augment", metavar="none|flips|turns", help="turns: all eight symmetries")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Trains; 1 if the loss was not finite, 128 + n if signal n ended it (a checkpoint is left)."""
    from code_jax.runs.folder import check_folder, claimed
    from code_jax.training.loop import Run, train
    from code_jax.training.sources import Dataset, parse_source
    from code_jax.training.write import write_prior

    keep_compiled()
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # where orbax writes what it raises as well
    for name, least in (("seconds", 0), ("every", 1), ("keep", 1), ("held_out", 1)):
        value = getattr(args, name)
        if value is not None and not value >= least:
            raise UserError(f"--{name.replace('_', '-')} is {value}; it must be at least {least}")
    if not 0 <= args.seed < 2**32:
        raise UserError(f"--seed is {args.seed}; it must be from 0 to {2**32 - 1}")
    network, recipe, init = _design(args)
    check_folder(args.out, "train")
    data = Dataset([parse_source(text) for text in args.data], (*network.sample_size, network.in_channels), args.held_out)
    args.out.mkdir(parents=True, exist_ok=True)
    with claimed(args.out, "train"):
        options = {field.name for field in dataclasses.fields(Run)}
        result = train(args.out, data, network, recipe, Run(**{name: getattr(args, name) for name in options}), init)
        if result.signal is not None:
            print(f"stopped by {signal.Signals(result.signal).name} after {result.steps} steps; --resume goes on")
            return 128 + result.signal
        if result.best_step is not None:
            write_prior(result.prior, args.out / "prior", data.scales)
            print(f"wrote the prior of step {result.best_step}, that of lowest validation loss, to {args.out / 'prior'}")
    if result.diverged is not None:
        print(f"code-jax: step {result.diverged} is not finite: try a lower --learning-rate", file=sys.stderr)
        return 1
    if result.steps < recipe.steps:
        print(f"{result.steps} of {recipe.steps} steps done in the time given; --resume goes on")
    return 0


def _design(args: argparse.Namespace) -> tuple[UNet2DConfig, Recipe, Prior | None]:
    """The network, the recipe with what the command line changes of it, and the prior to start from."""
    from code_jax.models.config import UNet2DConfig
    from code_jax.training.recipe import find_recipe, override

    network, recipe = find_recipe(args.config)
    names = ("steps", "batch_size", "learning_rate", "hold", "optimizer", "prediction_type", "min_snr_gamma", "schedule")
    changed = {name: getattr(args, name) for name in (*names, "lower_half", "augment") if getattr(args, name) is not None}
    if args.init is None:
        return network, override(recipe, changed), None
    from code_jax.priors.load import load_prior
    from code_jax.priors.save import network_of

    if {"prediction_type", "schedule"} & set(changed):
        raise UserError("--init brings its own prediction type and schedule; leave --prediction-type and --schedule out")
    init = load_prior(args.init)
    known = network_of(init).config
    if not isinstance(known, UNet2DConfig) or known.num_class_embeds or init.codec is not None or init.schedule is None:
        raise UserError(f"--init {args.init}: training goes on from a UNet2DModel of pixels with timesteps, without classes")
    recipe = override(recipe, changed | {"prediction_type": init.prediction_type})
    return known, recipe, init
