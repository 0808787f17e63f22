"""``code-jax sweep``: pictures at every point of a grid of settings."""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from code_jax.cli import restore
from code_jax.cli.arguments import check_batch_size, count, number
from code_jax.cli.runtime import keep_compiled, use_cores
from code_jax.errors import UserError

_DESCRIPTION = """An AXIS is a list, A,B,C, or a range, A:B:N of N values: geometric for step
sizes, else linear."""
_EPILOG = """examples:
  code-jax sweep photo.png --out grid --step-size 1e-6:1e-3:6 --depth 0.2:1:5
  code-jax sweep folder --out grid --relative-step 0.005:0.1:4 --eta 1.7,2,none
"""
_MAX_VALUES = 10_000


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("sweep", help="restore at every point of a grid", description=_DESCRIPTION, epilog=_EPILOG)
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="pictures and folders of pictures")
    add("--out", type=Path, required=True, help="folder for cells, sweep.csv, sheet and plot")
    add("--prior", default="eurosat-64", help="bundled name, hub id, folder (default: eurosat-64)")
    add("--preset", default="default", metavar="default|local|global", help="of what is no axis")
    add("--method", default="code", metavar="code|sdedit|ddim", help="default: code")
    add("--reference", type=Path, help="clean source, or a folder of them")
    add("--fit", choices=("resize", "crop"), default="resize", help="how a picture gets the prior's size")

    axes = parser.add_argument_group("axes")
    add = axes.add_argument
    step = axes.add_mutually_exclusive_group()
    step.add_argument("--step-size", type=_geometric, default=(), metavar="AXIS", help="Langevin step h")
    step.add_argument("--relative-step", type=_geometric, default=(), metavar="AXIS", help="the same as h/(1 - alpha_bar)")
    add("--depth", type=_linear, default=(), metavar="AXIS", help="noise level in (0, 1]")
    add("--eta", type=_etas, default=(), metavar="AXIS", help="confidence of the clipping, or none")
    add("--anneal-rate", type=_linear, default=(), metavar="AXIS", help="factor between levels of the step size")
    add("--seeds", type=count, default=1, help="how many seeds, from --seed on (default: 1)")
    add("--seed", type=count, default=0, help="default: 0")

    add = parser.details("details of the method").add_argument
    add("--langevin-steps", type=count, help="Langevin steps")
    add("--ode-steps", type=count, help="steps of the ODE each way")
    add("--anneal-levels", type=count, help="levels of the step size")
    add("--langevin", metavar="KIND", help="variance_preserving, unadjusted or averaged")
    add("--solver", metavar="NAME", help="ddim, heun, midpoint, tsit5 or reversible_heun")
    add("--grid", metavar="time|geometric|rho", help="of the ODE's noise levels")
    add("--input-noise", type=_finite, metavar="X", help="in units of sigma_0; at 0 seeds share encodings")
    add("--dynamic-threshold", type=_linear, metavar="P,S", help="quantile and s_max; off by default")

    run_of = parser.details("details of the run")
    add = run_of.add_argument
    add("--batch-size", type=count, help="pictures on a device at a time (default: 1 to 8)")
    add("--precision", default="float32", metavar="float32|bfloat16", help="inside the network")
    parser.add_progress(run_of)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Sweeps; 1 if some inputs failed."""
    from code_jax.runs.folder import claimed
    from code_jax.runs.sources import check_output, find_sources, without_partner

    check_batch_size(args.batch_size)
    if not 0 <= args.seed <= args.seed + max(args.seeds, 1) <= 2**32:
        raise UserError(f"--seed is {args.seed}; it must be from 0 to {2**32 - max(args.seeds, 1)}")
    if args.reference is not None and not args.reference.exists():
        raise UserError(f"the reference {str(args.reference)!r} does not exist")
    file_reference = args.reference if args.reference is not None and args.reference.is_file() else None
    sources = find_sources(args.inputs, args.out, None if file_reference else args.reference)
    if file_reference:
        if len(sources) > 1:
            raise UserError(f"--reference {str(file_reference)!r} is one picture for {len(sources)} inputs; give a folder")
        sources = [sources[0]._replace(reference=file_reference)]
    if args.reference is not None and (alone := without_partner(sources)):
        print(f"code-jax: warning: {alone} in {str(args.reference)!r}", file=sys.stderr)
    given = {name: value for name, value in vars(args).items() if name not in ("run", "words", "out", "progress")}
    check_output(args.out, [], "sweep", settings=given)
    with claimed(args.out, "sweep", given):
        return _sweep(args, sources)


def _sweep(args: argparse.Namespace, sources: Sequence[Any]) -> int:
    import jax.numpy as jnp
    import numpy as np

    from code_jax.editing.config import canonical
    from code_jax.editing.sweep import SweepPoint, sweep
    from code_jax.pictures.arrays import from_uint8
    from code_jax.pictures.files import read_picture
    from code_jax.pictures.loading import PictureError
    from code_jax.priors.hash import prior_hash
    from code_jax.priors.load import load_prior
    from code_jax.progress import Progress
    from code_jax.runs.job import Job, fold_keys, image_key
    from code_jax.runs.sweep_report import Swept, write_report

    keep_compiled()
    use_cores()
    prior = load_prior(args.prior, precision=args.precision)
    grid, config = plan(args, prior.schedule)
    swept, failed = [], 0
    for source in sources:
        try:
            pixels = read_picture(source.path, prior.image_shape, args.fit)
            reference = source.reference
            clean = None if reference is None else read_picture(reference, prior.image_shape, args.fit)
        except PictureError as error:
            failed += 1
            print(f"code-jax: failed {str(source.path)!r}: {error}", file=sys.stderr)
        else:
            name, digest = source.output.relative_to(args.out).as_posix(), hashlib.sha256(pixels.tobytes()).hexdigest()
            swept.append(Swept(source.path, name, pixels, digest, clean))
    if not swept:
        return 1

    keys = [[image_key(args.seed + seed, item.digest, 0) for item in swept] for seed in range(grid.seeds)]
    progress: list[Progress] = []

    def after(done: int, total: int) -> None:
        if done:
            progress[0].advance(done)
        else:
            progress[:] = [Progress(total)]

    begun = time.monotonic()
    pictures = from_uint8(np.stack([item.pixels for item in swept]))
    words = np.array(keys, np.uint32)
    key = jnp.stack([fold_keys(row) for row in words])
    result = sweep(key, prior, pictures, grid, config, micro_batch=args.batch_size, after=after)
    seconds = time.monotonic() - begun
    weights = prior_hash(prior)

    def facts(point: SweepPoint, digest: str) -> dict[str, Any]:
        """What `restore` would say of a cell."""
        numbers = {name: value for name, value in point._asdict().items() if name != "seed"}
        settings = restore.settings(args, canonical(config.replace(**numbers)))
        return Job(seed=point.seed, micro_batch=result.micro_batch, settings=settings).facts(digest, 0, weights)

    rows = write_report(args.out, swept, result, prior.schedule, args.seed, facts)

    broken = sum(not row["finite"] for row in rows)
    done = f"{len(result.points)} points, {len(swept)} pictures, not finite {broken}, failed {failed}"
    print(f"{done}; results are in {str(args.out)!r}")
    alone = result.info.nfe * len(rows)
    print(f"{result.evaluations} evaluations (each point by itself: {alone}), micro-batch {result.micro_batch}, {seconds:.1f} s")
    return 1 if failed or broken else 0


def plan(args: argparse.Namespace, schedule: Any) -> tuple[Any, Any]:
    """The grid and the config of everything else; warns of steps beyond their stability limit."""
    from code_jax.diffusion.langevin import STEP_LIMITS, consequence
    from code_jax.editing.sweep import SweepGrid

    own = argparse.Namespace(**vars(args) | dict.fromkeys(("depth", "step_size", "relative_step", "eta", "anneal_rate")))
    config = restore.configure(own, schedule)
    grid = SweepGrid(args.step_size, args.relative_step, args.depth, args.eta, args.anneal_rate, args.seeds)
    points = grid.points(config, schedule)
    if config.program.method == "code":
        kind = config.program.langevin
        times = STEP_LIMITS[kind]
        variances = {point.depth: float(schedule.variance(schedule.timestep(point.depth))) for point in points}
        beyond = sum(point.step_size > times * variances[point.depth] * (1 + 1e-6) for point in points)
        if beyond:
            print(f"code-jax: warning: {beyond} of {len(points)} points have a step beyond the limit "
                  f"{times:g}·(1 - alpha_bar): {consequence(kind)}", file=sys.stderr)  # fmt: skip
    return grid, config


def _geometric(text: str) -> tuple[float, ...]:
    return _axis(text, geometric=True)


def _linear(text: str) -> tuple[float, ...]:
    return _axis(text)


def _etas(text: str) -> tuple[float | None, ...]:
    return tuple(value for part in text.split(",") for value in ((None,) if part == "none" else _linear(part)))


def _axis(text: str, *, geometric: bool = False) -> tuple[float, ...]:
    """A,B,C as given, or A:B:N, rounded to five digits so that what a sheet shows is what was used."""
    if ":" not in text:
        return tuple(_finite(part) for part in text.split(","))
    parts = text.split(":")
    if len(parts) != 3:
        raise argparse.ArgumentTypeError(f"{text!r} is no range; write FIRST:LAST:COUNT, such as 0.2:1:5")
    first, last, steps = _finite(parts[0]), _finite(parts[1]), count(parts[2])
    if not 1 <= steps <= _MAX_VALUES:
        raise argparse.ArgumentTypeError(f"{text!r} has {steps} values; give from 1 to {_MAX_VALUES}")
    if geometric and not (first > 0 and last > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is geometric; its ends must be positive")
    shares = [k / max(steps - 1, 1) for k in range(steps)]
    values = [first * (last / first) ** share if geometric else first + (last - first) * share for share in shares]
    return tuple(float(f"{value:.5g}") for value in values)


def _finite(text: str) -> float:
    value = number(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number")
    return value
