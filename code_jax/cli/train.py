"""``code-jax train``: a prior of one's own from a folder or zip of pictures."""

from __future__ import annotations

import argparse
import dataclasses
import signal
from pathlib import Path
from typing import Any

from code_jax.cli.arguments import count, number
from code_jax.cli.runtime import keep_compiled
from code_jax.errors import UserError

_EPILOG = """examples:
  code-jax train --data tiles.zip --out run --augment turns --seconds 3600
  code-jax train --data tiles.zip --out run --augment turns --resume
  code-jax train --data photos --out tuned --init google/ddpm-ema-celebahq-256
  code-jax restore pictures --out restored --prior run/prior
"""


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("train", help="train a prior on pictures", epilog=_EPILOG)
    add = parser.add_argument
    add("--data", required=True, metavar="PATH", help="folder or zip of pictures of any size")
    add("--out", type=Path, required=True, help="folder for checkpoints, losses.csv and prior")
    add("--config", default="small", metavar="NAME|FILE", help="small, base, celebahq-256 (default: small)")
    add("--init", metavar="PRIOR", help="fine-tune this prior")
    add("--resume", action="store_true", help="go on with the training in --out")
    add("--seconds", type=number, help="stop in time; --resume goes on")
    add("--precision", choices=("float32", "bfloat16"), default="float32", help="inside the network")
    add("--held-out", type=count, default=1000, help="pictures for validation, a fifth at most")
    add("--every", type=count, default=500, help="steps between checkpoints (default: 500)")
    add("--keep", type=count, default=2, help="last checkpoints kept, beside the best")
    add("--seed", type=count, default=0, help="default: 0")

    add = parser.add_argument_group("in place of the recipe's").add_argument
    add("--steps", type=count, help="in all; the learning rate falls to 0 over them")
    add("--batch-size", type=count, help="pictures a step, all devices together")
    add("--learning-rate", type=number, help="peak of the learning rate")
    add("--prediction-type", metavar="NAME", help="epsilon, v_prediction or sample")
    add("--min-snr-gamma", type=number, help="weigh the loss by min(SNR, X)")
    add("--schedule", metavar="linear|cosine", help="noise schedule")
    add("--augment", metavar="none|flips|turns", help="turns: all eight symmetries")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Trains; 128 + n if signal n ended it (a checkpoint is left)."""
    from code_jax.training.loop import Run, train
    from code_jax.training.recipe import find_recipe, override

    keep_compiled()
    for name, least in (("seconds", 0), ("every", 1), ("keep", 1), ("held_out", 1), ("seed", 0)):
        value = getattr(args, name)
        if value is not None and not value >= least:
            raise UserError(f"--{name.replace('_', '-')} is {value}; it must be at least {least}")
    network, recipe = find_recipe(args.config)
    names = ("steps", "batch_size", "learning_rate", "prediction_type", "min_snr_gamma", "schedule", "augment")
    values = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    init = None
    if args.init is not None:
        from code_jax.priors.load import load_prior
        from code_jax.priors.save import network_of

        if {"prediction_type", "schedule"} & set(values):
            raise UserError("--init brings its own prediction type and schedule; leave --prediction-type and --schedule out")
        init = load_prior(args.init)
        network = network_of(init).config
        values["prediction_type"] = init.prediction_type
    recipe = override(recipe, values)

    options = {field.name for field in dataclasses.fields(Run)}
    result = train(args.out, args.data, network, recipe, Run(**{name: getattr(args, name) for name in options}), init)
    if result.signal is not None:
        print(f"stopped by {signal.Signals(result.signal).name} after {result.steps} steps; --resume goes on")
        return 128 + result.signal
    if result.steps < recipe.steps:
        print(f"{result.steps} of {recipe.steps} steps done in the time given; --resume goes on")
    _write(result.prior, args.out / "prior")
    print(f"wrote the prior of step {result.best_step}, that of lowest validation loss, to {args.out / 'prior'}")
    return 0


def _write(prior: Any, folder: Path) -> None:
    """Writes the prior in diffusers' layout, in place of the one that an earlier run left."""
    import shutil
    import tempfile

    from code_jax.priors.save import save_prior

    with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
        save_prior(prior, Path(aside) / "new")
        if folder.exists():
            shutil.rmtree(folder)
        (Path(aside) / "new").rename(folder)
