"""``code-jax restore``: files and folders of pictures."""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from pathlib import Path
from typing import Any

from code_jax.cli.arguments import count, eta, number, numbers
from code_jax.cli.compiled import keep_compiled
from code_jax.errors import UserError

_EPILOG = """examples:
  code-jax restore photo.png --out restored --preset local
  code-jax restore folder --out restored --depth 0.5,0.2 --samples 3 --compare
  code-jax restore folder --out restored --prior google/ddpm-ema-celebahq-256 --eta none
"""


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "restore", help="restore pictures", epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="pictures and folders of pictures")
    add("--out", type=Path, required=True, help="folder for the results, manifest.jsonl and the contact sheet")
    add("--prior", default="eurosat-64", help="bundled name, hub id or folder (default: eurosat-64)")
    add("--method", default="code", metavar="code|sdedit|ddim", help="default: code")
    add("--preset", default="default", help="default, local or global")
    add("--depth", type=numbers, help="noise level in (0, 1]; a list corrects several, deepest first")
    step = parser.add_mutually_exclusive_group()
    step.add_argument("--step-size", type=numbers, help="Langevin step h, one or one a depth")
    step.add_argument("--relative-step", type=number, help="the same as h/(1 - alpha_bar), which fits any prior")
    add("--eta", type=eta, help="confidence of the clipping, or none")
    add("--anneal-rate", type=number, help="factor between levels of the step size")
    add("--anneal-levels", type=count, help="levels of the step size")
    add("--langevin-steps", type=count, help="Langevin steps at each depth")
    add("--langevin", help="variance_preserving or unadjusted")
    add("--ode-steps", type=count, help="steps of the ODE each way")
    add("--solver", help="ddim, heun, midpoint or tsit5")
    add("--grid", help="time or geometric")
    add("--input-noise", type=number, help="noise given to the input, in units of sigma_0")
    add("--dynamic-threshold", type=numbers, help="QUANTILE,S_MAX; off by default")
    add("--samples", type=count, default=1, help="results a picture")
    add("--seed", type=int, default=0)
    add("--batch-size", type=count, default=8, help="pictures on a device at a time; results belong to it (default: 8)")
    add("--precision", default="float32", help="float32 or bfloat16, inside the network")
    add("--fit", choices=("resize", "crop"), default="resize", help="how a picture gets the prior's size")
    add("--mask", type=Path, help="picture, bright where the inputs may change; the rest is returned exactly")
    add("--reference", type=Path, help="folder of clean sources with the inputs' names")
    add("--compare", action="store_true", help="write contact_sheet.png")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Restores; 1 if some inputs failed."""
    from code_jax.batch.files import check_output, find_sources

    check_counts(args)
    sources = find_sources(args.inputs, args.out, args.reference)
    check_output(args.out, sources)

    from code_jax.batch.restore import Job, restore_files
    from code_jax.priors.load import load_prior

    keep_compiled()
    prior = load_prior(args.prior, precision=args.precision)
    config = configure(args, prior.schedule)
    settings = {"prior": args.prior, "precision": args.precision, "fit": args.fit} | describe(config)
    mask = None if args.mask is None else _mask(args.mask, prior.image_shape, args.fit)
    job = Job(args.samples, args.seed, args.batch_size, args.fit, args.compare, settings, mask)
    summary = restore_files(sources, args.out, prior, config, job)

    print(f"restored {summary.done}, failed {summary.failed}; results are in {args.out}")
    print(f"{summary.nfe} evaluations an image, {summary.seconds:.1f} s")
    if summary.before:
        count = len(summary.before)
        before, after = sum(summary.before) / count, sum(summary.after) / count
        print(f"PSNR to the clean source, mean of {count}: {before:.2f} dB before, {after:.2f} dB after")
    return 1 if summary.failed else 0


def configure(args: argparse.Namespace, schedule: Any) -> Any:
    """The `EditConfig` of the arguments: the preset, overridden; warns of a step beyond its stability limit."""
    import jax.numpy as jnp
    import numpy as np

    from code_jax.editing.config import canonical, preset

    depth = None if args.depth is None else jnp.array(args.depth)
    if depth is not None and not np.all((np.array(args.depth) > 0) & (np.array(args.depth) <= 1)):
        raise UserError(f"depth is {args.depth}; it must be in (0, 1]")
    config = preset(args.preset, schedule, depth, args.relative_step, args.method)
    if args.step_size is not None:
        if len(args.step_size) not in (1, np.size(config.depth)):
            raise UserError(f"{len(args.step_size)} step sizes for {np.size(config.depth)} depths; give one, or one for each")
        config = config.replace(step_size=jnp.array(args.step_size))
    values = {name: getattr(args, name) for name in ("eta", "anneal_rate", "input_noise") if getattr(args, name) is not None}
    if args.dynamic_threshold is not None:
        if len(args.dynamic_threshold) != 2:
            raise UserError("--dynamic-threshold takes two numbers: QUANTILE,S_MAX, such as 0.98,1.3")
        values["dynamic_threshold"] = tuple(args.dynamic_threshold)
    program = {"num_steps": args.ode_steps} if args.ode_steps is not None else {}
    for name in ("solver", "grid", "langevin_steps", "anneal_levels", "langevin"):
        if getattr(args, name) is not None:
            program[name] = getattr(args, name)
    config = canonical(config.replace(**values, program=dataclasses.replace(config.program, **program)))

    variance = schedule.variance(schedule.timestep(jnp.atleast_1d(config.depth)))
    kind = config.program.langevin
    limit = variance * (2 if kind == "unadjusted" else 0.5)
    beyond = np.atleast_1d(config.step_size > limit * (1 + 1e-6))
    if config.program.method == "code" and np.any(beyond):
        worst = int(np.argmax(beyond))
        step = float(np.broadcast_to(config.step_size, beyond.shape)[worst])
        meaning = "the chain diverges" if kind == "unadjusted" else "the step is cut to it"
        print(
            f"code-jax: warning: step size {step:.3g} is beyond the limit {float(limit[worst]):.3g}: {meaning}", file=sys.stderr
        )
    return config


def describe(config: Any) -> dict[str, Any]:
    """A canonical `EditConfig` as JSON: what was used, presets resolved."""
    values = {name: getattr(config, name) for name in ("depth", "step_size", "eta", "anneal_rate", "input_noise")}
    plain: dict[str, Any] = {name: _shortest(value) for name, value in values.items()}
    plain["eta"] = "none" if math.isinf(plain["eta"]) else plain["eta"]
    threshold = config.dynamic_threshold
    plain["dynamic_threshold"] = None if threshold is None else [_shortest(value) for value in threshold]
    return plain | dataclasses.asdict(config.program)


def _shortest(value: Any) -> Any:
    """The shortest decimals that are read as these floats: 0.4, not the 0.4000000059604645 that float32 holds. One is no list."""
    import numpy as np

    return np.asarray(value).squeeze().astype(str).astype(float).tolist()


def _mask(path: Path, shape: tuple[int, int, int], fit: str) -> Any:
    from code_jax.batch.files import read_mask

    try:
        return read_mask(path, shape, fit)
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"the mask {str(path)!r} cannot be read: {error}") from error


def check_counts(args: argparse.Namespace) -> None:
    """Raises UserError for a count or seed that cannot be."""
    for name in ("samples", "batch_size"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} is {getattr(args, name)}; it must be at least 1")
    if not 0 <= args.seed < 2**32:
        raise UserError(f"--seed is {args.seed}; it must be from 0 to {2**32 - 1}")
