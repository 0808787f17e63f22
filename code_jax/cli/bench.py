"""``code-jax bench``: what an edit costs on this machine, as a Markdown table."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path
from typing import Any

from code_jax.cli.arguments import count
from code_jax.cli.runtime import use_cores
from code_jax.errors import UserError
from code_jax.priors import DEFAULT

_EPILOG = """examples:
  code-jax bench
  code-jax bench --ode-steps 2 --langevin-steps 2 --runs 3
  code-jax bench --prior pictures-64 --table tests/benchmarks/README.md
"""


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("bench", help="measure an edit against its bare network", epilog=_EPILOG)
    add = parser.add_argument
    add("--prior", default=DEFAULT, help=f"bundled name, hub id or folder (default: {DEFAULT})")
    add("--preset", default="default", metavar="default|local|global", help="default: default")
    add("--precision", default="float32", metavar="float32|bfloat16", help="inside the network")
    add("--batch-size", type=count, default=4, help="pictures at a time, on all devices (default: 4)")
    add("--runs", type=count, default=5, help="runs that the median is taken of (default: 5)")
    add("--ode-steps", type=count, help="fewer steps each way, for a quick look")
    add("--langevin-steps", type=count, help="fewer Langevin steps, for a quick look")
    add("--points", type=count, default=60, help="about so many points of each of two sweeps (default: 60)")
    add("--table", metavar="FILE", help="instead, put a row a batch size and precision into a Markdown file's table")
    add("--batches", type=batches, help="batch sizes of --table (default: 1,8,32,64; on a CPU 1,4,8)")
    add("--start-up", action="store_true", help="time two starts of code-jax restore as well")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the table."""
    for name in ("batch_size", "runs", "points"):
        if not 1 <= getattr(args, name) <= 10_000:
            raise UserError(f"--{name.replace('_', '-')} is {getattr(args, name)}; it must be from 1 to 10000")

    use_cores()
    import jax

    from code_jax.bench import against_pytorch
    from code_jax.bench.measure import default_grids, measure, with_fewer_steps
    from code_jax.bench.start_up import start_up
    from code_jax.bench.throughput import keep, kept, throughput
    from code_jax.editing import methods
    from code_jax.editing.edit import number_of_moves
    from code_jax.editing.presets import preset
    from code_jax.priors.load import load_prior

    if args.table:
        kept(Path(args.table))  # before anything is measured in vain
    prior = load_prior(args.prior, precision=args.precision)
    steps = {"ode_steps": args.ode_steps, "langevin_steps": args.langevin_steps}
    named = [name for name in methods.names() if "preset" in methods.find(name).options]
    config, *others = (with_fewer_steps(preset(args.preset, name), **steps) for name in named)
    device = jax.devices()[0].device_kind
    cpu = jax.default_backend() == "cpu"
    machine = (
        f"{platform.machine()}, {os.cpu_count()} cores, {jax.device_count()} of them devices"
        if cpu
        else f"{jax.device_count()} × {device}"
    )
    if args.table:
        sizes = args.batches or ((1, 4, 8) if cpu else (1, 8, 32, 64))
        for precision in ("float32", "bfloat16"):
            for row in throughput(args.prior, prior, precision, config, sizes, args.runs):
                print(" | ".join(row), flush=True)
                keep(Path(args.table), row)
        return 0
    versions = f"Python {platform.python_version()}, jax {jax.__version__}"
    print(f"{args.prior}, preset {args.preset}, {args.precision}; {machine}; {versions}; median of {args.runs} runs\n")
    print("| measured | median | smallest to largest |\n|---|---|---|", flush=True)

    def show(rows: list[Any]) -> None:
        for row in rows:
            print(f"| {' | '.join(row)} |", flush=True)

    show(measure(prior, config, args.batch_size, args.runs, default_grids(args.points), others))
    if args.start_up:
        given = [f"--{name.replace('_', '-')}={value}" for name, value in steps.items() if value is not None]
        options = [f"--preset={args.preset}", f"--precision={args.precision}", *given]
        show(start_up(args.prior, options, prior, config))
    obstacle = against_pytorch.obstacle(args.precision)
    if obstacle:
        print(f"code-jax: no comparison with PyTorch: {obstacle}", file=sys.stderr)
    else:
        show(against_pytorch.against_pytorch(prior, args.batch_size, args.runs, number_of_moves(prior, config)[1]))
    return 0


def batches(text: str) -> list[int]:
    """Whole numbers from 1 to 10000 between commas."""
    values = [count(part) for part in text.split(",")]
    if not all(1 <= value <= 10_000 for value in values):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of batch sizes from 1 to 10000")
    return values
