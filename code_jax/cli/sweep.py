"""``code-jax sweep``: pictures at every point of a grid of settings."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from typing import Any

from code_jax.cli.arguments import add_fit, check_batch_size, count, folder, label, number, path
from code_jax.cli.runtime import keep_compiled, use_cores
from code_jax.cli.settings import add_settings, settings_of, warn_of_precision
from code_jax.editing.options import OPTIONS
from code_jax.errors import UserError
from code_jax.priors import DEFAULT

_DESCRIPTION = """An AXIS is a list, A,B,C, or a range, A:B:N of N values: geometric for sigma
and step sizes, else linear."""
_EPILOG = """examples:
  code-jax sweep photo.png --out grid --relative-step 0.01:0.4:6 --sigma 0.3:3:5
  code-jax sweep folder --out grid --relative-step 0.005:0.1:4 --eta 1.7,2,none
"""
_MAX_VALUES = 10_000


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("sweep", help="restore at every point of a grid", description=_DESCRIPTION, epilog=_EPILOG)
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="pictures and folders of pictures")
    add("--out", type=folder, required=True, help="folder for cells, sweep.csv, sheet and plot")
    add("--prior", default=DEFAULT, help=f"name, hub id, folder, file (default: {DEFAULT})")
    add("--label", type=label, metavar="N|none", help="class of the pictures, of a prior with classes")
    add("--reference", type=path, help="clean source, or a folder of them")

    axes = parser.add_argument_group("axes").add_argument
    for name, (read, about) in _AXES.items():
        axes(OPTIONS[name].flag, dest=name, type=read, default=(), metavar="AXIS", help=about)
    axes("--seeds", type=count, default=1, help="how many seeds, from --seed on (default: 1)")
    axes("--seed", type=count, default=0, help="default: 0")
    add_settings(parser, "settings of all points", leave_out=tuple(_AXES))

    run_of = parser.details("details of the run")
    add_fit(parser, run_of)
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
    import numpy as np

    from code_jax.editing.conditions import labelled
    from code_jax.editing.points import SweepGrid, at_points
    from code_jax.editing.settings import to_plain
    from code_jax.pictures.files import open_picture, read_picture
    from code_jax.pictures.loading import PictureError
    from code_jax.priors.hash import prior_hash
    from code_jax.priors.load import load_prior
    from code_jax.runs.job import Job, check_fit, larger_fit
    from code_jax.runs.sweep_report import write_report
    from code_jax.runs.swept import Sweeper
    from code_jax.runs.tasks import work_of

    keep_compiled()
    use_cores()
    prior = load_prior(args.prior, precision=args.precision)
    settings = settings_of(args, prior, ignored=tuple(_AXES))
    of_label = labelled(prior, args.label, settings)
    warn_of_precision(args.precision)
    check_fit(args.fit, settings.method)
    grid = SweepGrid(seeds=args.seeds, **{name: getattr(args, name) for name in _AXES})
    points = grid.points()
    numbers = at_points(settings, points, prior)
    plain = [to_plain(_at(numbers, p)) for p in range(len(points))]
    for text in settings.method.warn(numbers, prior):
        print(f"code-jax: warning: of {len(points)} points, at some: {text}", file=sys.stderr)
    works, cleans, failed = [], [], 0
    job = Job(fit=args.fit, larger=larger_fit(prior, settings.method), max_side=args.max_side)
    for source in sources:
        try:
            work = work_of(open_picture(source.path), source, prior.image_shape, job)
            clean = source.reference and read_picture(source.reference, prior.image_shape, work.fit, args.max_side)
            if clean is not None and clean.shape[:2] != work.pixels.shape[:2]:
                (height, width), sides = work.pixels.shape[:2], clean.shape
                raise PictureError(f"its clean source is {sides[1]}x{sides[0]}, not {width}x{height}")
        except PictureError as error:
            failed += 1
            print(f"code-jax: failed {str(source.path)!r}: {error}", file=sys.stderr)
        else:
            works.append(work)
            cleans.append(clean)
    if not works:
        return 1
    begun = time.monotonic()
    sweeper = Sweeper(prior, settings, grid, args.seed, args.batch_size, args.label)
    inputs = sweeper.run(works, cleans)
    seconds, weights = time.monotonic() - begun, prior_hash(prior)
    noted = {name: getattr(args, name) for name in ("prior", "precision", "fit")} | of_label
    noted |= {} if args.max_side is None else {"max_side": args.max_side}

    def facts(point: int, digest: str) -> dict[str, Any]:
        """What `restore` would say of a cell."""
        job = Job(seed=args.seed + points[point].seed, micro_batch=sweeper.micro_batch or 1, settings=noted | plain[point])
        return job.facts(digest, 0, weights)

    rows = write_report(args.out, inputs, points, plain, args.seed, facts)
    broken = sum(not row["finite"] for row in rows)
    print(f"{len(points)} points, {len(inputs)} pictures, not finite {broken}, failed {failed}; results are in {str(args.out)!r}")
    alone = int(np.sum([row["nfe"] for row in rows]))
    print(
        f"{sweeper.evaluations} evaluations (each point by itself: {alone}), micro-batch {sweeper.micro_batch}, {seconds:.1f} s"
    )
    return 1 if failed or broken else 0


def _at(numbers: Any, point: int) -> Any:
    import jax

    return jax.tree.map(lambda leaf: leaf[point], numbers)


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


_AXES = {
    "sigma": (_geometric, "noise level"),
    "depth": (_linear, "the same as a fraction of the training timesteps"),
    "relative_step": (_geometric, "Langevin step h/(1 - alpha_bar)"),
    "step_size": (_geometric, "the same as the absolute h"),
    "eta": (_etas, "confidence of the clipping, or none"),
    "anneal_rate": (_linear, "factor between levels of the step size"),
}
