"""``code-jax evaluate``: the paper's tables for a prior and a folder of clean pictures."""

from __future__ import annotations

import argparse
import fnmatch
import platform
import shlex
from pathlib import Path
from typing import Any

from code_jax.cli.arguments import (
    add_engine,
    check_batch_size,
    check_engine,
    check_results,
    check_seed,
    count,
    eta,
    folder,
    label,
    path,
)
from code_jax.cli.runtime import engine_of
from code_jax.editing.options import OPTIONS
from code_jax.errors import UserError, choose
from code_jax.priors import DEFAULT

_DESCRIPTION = """Corrupts clean pictures, restores them by each method and makes the paper's
tables. Methods: inputs, ddim, ddim+cbc, sdedit, code, code-cbc (CODE without
clipping), official, official+cbc, official+ddim, official-QUIRK (without one
of its quirks), dreamclean, invert2restore, diip, bir_d; told the damage dps,
diffpir, bird. 'official*' is every row whose name begins so."""
_PROTOCOL = {"protocol": 2}  # of what is measured and how: results of another are not mixed with these
_EPILOG = """examples:
  code-jax evaluate --table equal-cost --data test --tuning tune --out table
  code-jax evaluate --data test.zip --out table --images 8
  code-jax evaluate --data test.zip --out t --set sigma=0.5,1 --tuning tune.zip
  code-jax evaluate --data test.zip --out table --images 8 --resume
  code-jax evaluate --data test.zip --out q --images 2 --methods 'official*'
"""


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("evaluate", help="make the paper's tables", description=_DESCRIPTION, epilog=_EPILOG)
    add = parser.add_argument
    add("--data", type=path, required=True, metavar="CLEAN", help="folder or zip, its folders named by class")
    add("--out", type=folder, required=True, help="folder for the report and results.csv")
    add("--prior", default=DEFAULT, help=f"name, hub id, folder, file (default: {DEFAULT})")
    add("--table", metavar="NAME", help="equal-cost, as-published or upper-bound; what else is given goes before it")
    add("--methods", metavar="A,B", help="default: inputs,ddim,ddim+cbc,sdedit,code-cbc,code")
    add("--corruptions", metavar="A,B|all", help="default: all 47")
    add("--severity", type=_counts, default=(5,), metavar="S,S", help="tables: the first, curves: all (default: 5)")
    add("--images", type=count, help="pictures for each corruption (default: 8)")
    add("--protocol", metavar="A,B", help="how settings are chosen (default: oracle,blind)")
    add("--resume", action="store_true", help="go on from the records in --out")

    add = parser.add_argument_group("settings to choose from").add_argument
    add(
        "--set",
        action="append",
        default=[],
        metavar="[METHOD.]OPTION=V,V",
        help="as of restore; numbers take several",
    )
    add("--tuning", type=path, metavar="CLEAN", help="pictures to choose blind settings on")
    add("--tuning-held-out", type=count, metavar="N", help="of them those held out of training by name")
    add("--tuning-images", type=count, help="for each corruption (default: 1)")

    add = parser.details("details of the methods").add_argument
    add("--label", type=label, metavar="N|none", help="class of the pictures, of a prior with classes")
    add("--eta-curve", type=_etas, default=(), metavar="A,B,none", help="draw the last clipping method's curve over these etas")
    add("--costly-images", type=count, help="of --images, for methods of over 200 evaluations")
    add("--leave", action="store_true", help="leaving a picture as it is is a setting of every method")
    add("--against", metavar="ROW", help="the row that is compared with every other (default: the last)")
    add("--dry-run", action="store_true", help="print the rows and what they cost, and make nothing")

    run_of = parser.details("details of the run")
    add = run_of.add_argument
    add("--features", default="photo", metavar="photo|landcover|inception", help="of the Frechet distance")
    add("--weights", type=path, help="folder of downloaded weights")
    add("--bootstrap", type=count, default=200, help="resamples of the intervals (default: 200)")
    add("--keep", action="store_true", help="keep the restored pictures, for what is measured later")
    add("--seed", type=count, default=0, help="of pictures, corruptions, noise (default: 0)")
    add("--batch-size", type=count, help="pictures on a device at a time (default: 1 on a CPU, or 8)")
    add("--precision", default="float32", metavar="float32|bfloat16", help="inside the network")
    add_engine(run_of)
    parser.add_progress(run_of)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluates; 128 and the signal's number if interrupted."""
    from code_jax.evaluation.protocol import PROTOCOLS

    order = _order(args)
    _check(args, order)
    check_engine(args)
    if unknown := set(order.protocols) - set(PROTOCOLS):
        raise UserError(f"protocol {sorted(unknown)[0]!r} is unknown; choose from {', '.join(PROTOCOLS)}")
    with engine_of(args) as cluster:
        return _evaluate(args, order, cluster)


def _evaluate(args: argparse.Namespace, order: Any, cluster: Any) -> int:
    from code_jax.editing.conditions import labelled
    from code_jax.evaluation.entry import entry_of, read_values
    from code_jax.evaluation.run import Plan
    from code_jax.priors.load import load_prior
    from code_jax.runs.sources import check_output

    prior, values = load_prior(args.prior, precision=args.precision), read_values(args.set)
    methods = tuple(
        entry_of(name, values, prior, words, leave=order.leave) for name, words in {"clean": (), **order.rows}.items()
    )
    for method in methods:
        for choice in method.choices:
            if choice.settings is not None:
                labelled(prior, args.label, choice.settings)
    sizes = order.images, order.costly_images
    plan = Plan(methods, order.corruptions, args.severity, *sizes, order.protocols, order.tuning_images, args.eta_curve)
    if args.dry_run:
        return _price(plan)
    check_output(args.out, [], "evaluate", settings=_PROTOCOL)

    from code_jax.evaluation.measures import Yardstick
    from code_jax.evaluation.pool import read_pool
    from code_jax.evaluation.records import Records
    from code_jax.evaluation.report import write_report
    from code_jax.evaluation.run import evaluate
    from code_jax.evaluation.statistics import floor_said, moments_of
    from code_jax.evaluation.workshop import Workshop
    from code_jax.interruption import Interruption
    from code_jax.runs.folder import claimed
    from code_jax.runs.micro_batch import default_micro_batch

    micro_batch = args.batch_size or (cluster.micro_batch if cluster else default_micro_batch())
    yardstick = Yardstick(args.features, args.weights)
    side = _side(prior)
    data = read_pool(args.data, side, yardstick.classes)
    tuning = (
        None if args.tuning is None or not plan.tunes else read_pool(args.tuning, side, yardstick.classes, args.tuning_held_out)
    )
    with claimed(args.out, "evaluate", _PROTOCOL), Interruption() as interruption:
        records = Records(args.out, resume=args.resume)
        workshop = Workshop(prior, yardstick, records, args.seed, micro_batch, args.keep, args.label, cluster)
        results = evaluate(plan, workshop, data, tuning, interruption)
        if results is None:
            print("interrupted: the same command with --resume goes on from here")
            return 128 + (interruption.signal or 0)
        clean = yardstick.features_of(data.pixels)
        facts = _facts(args, order, micro_batch, prior, data, tuning) | {"Fréchet floor": floor_said(clean)}
        rows = write_report(args.out, results, moments_of(clean), yardstick, facts, order.against, args.bootstrap, args.seed)
    _print(rows, args.out)
    return 1 if any(row.broken for of in rows.values() for row in of) else 0


def _order(args: argparse.Namespace) -> Any:
    """The table's order, with what the arguments say in its place."""
    from code_jax.corruptions.registry import NAMES, check_name
    from code_jax.evaluation.entry import names
    from code_jax.evaluation.orders import ORDERS, Order

    if args.table is None:
        rows = dict.fromkeys(("inputs", "ddim", "ddim+cbc", "sdedit", "code-cbc", "code"), ())
        order = Order("", rows, "", images=8, tuning_images=1)
    else:
        order = choose("table", args.table, ORDERS)
    if args.methods is not None:
        named = [name for word in args.methods.split(",") for name in fnmatch.filter(names(), word) or [word]]
        order = order._replace(rows={name: order.rows.get(name, ()) for name in named})
    if args.corruptions is not None:
        wanted = NAMES if args.corruptions == "all" else dict.fromkeys(args.corruptions.split(","))
        order = order._replace(corruptions=tuple(wanted))
    for name in order.corruptions:
        check_name(name)
    if args.protocol is not None:
        order = order._replace(protocols=tuple(dict.fromkeys(args.protocol.split(","))))
    images = order.images if args.images is None else args.images
    costly = args.costly_images or (images if args.table is None else min(images, order.costly_images))
    tuning = order.tuning_images if args.tuning_images is None else args.tuning_images
    if args.against is not None:
        choose("row", args.against, order.rows)
    against = args.against or (order.against if order.against in order.rows else [*order.rows][-1])
    order = order._replace(images=images, costly_images=costly, tuning_images=tuning, against=against)
    return order._replace(leave=order.leave or args.leave)


def _price(plan: Any) -> int:
    """Prints what each row costs."""
    print(f"{'':24} settings  evaluations  pictures  evaluations in all, at most")
    total, kinds = 0, len(plan.corruptions) * len(plan.severities)
    for entry in plan.methods[1:]:
        each, pictures = sum(choice.nfe for choice in entry.choices), plan.count(entry) * kinds
        whole = "oracle" in plan.protocols or len(entry.choices) == 1
        tuned = plan.tuning_images * len(plan.corruptions) * each if entry in plan.tunes else 0
        cost = tuned + pictures * (each if whole else entry.nfe)
        total += cost
        costs = sorted({choice.nfe for choice in entry.choices if choice.nfe})
        span = "–" if not costs else f"{costs[0]}" if len(costs) == 1 else f"{costs[0]} to {costs[-1]}"
        print(f"{entry.name:24} {len(entry.choices):8} {span:>12} {pictures:9} {cost:12}")
    print(f"{total} evaluations in all, for {', '.join(plan.protocols)} choice")
    return 0


def _print(rows: dict[str, list[Any]], out: Path) -> None:
    from code_jax.evaluation.tables import title_of

    for protocol, of in rows.items():
        print(f"{protocol:32} Fréchet   PSNR-input  PSNR-source  NFE")
        for row in of:
            fidelity, source = row.columns["psnr_input"][0], row.columns["psnr_source"][0]
            print(f"{title_of(row.method):32} {row.frechet.estimate:7.2f} {fidelity:12.2f} {source:12.2f} {row.nfe:5.0f}")
    print(f"report.html, report.md and results.csv are in {str(out)!r}")


def _facts(args: argparse.Namespace, order: Any, micro_batch: int, prior: Any, data: Any, tuning: Any) -> dict[str, str]:
    import jax

    from code_jax.priors.hash import prior_hash
    from code_jax.version import __version__

    devices = jax.local_devices()
    facts = {
        "command": shlex.join(["code-jax", *args.words]),
        "seed": str(args.seed),
        "versions": f"code_jax {__version__}, jax {jax.__version__}, Python {platform.python_version()}",
        "device": f"{len(devices)} × {devices[0].device_kind} ({platform.machine()}), {micro_batch} pictures on each",
        "prior": f"{args.prior}, SHA-256 {prior_hash(prior)}, {args.precision}",
        "pictures": f"{len(data.pixels)}, SHA-256 of their pixels {data.hash}; {order.images} for each corruption",
    }
    if tuning is not None:
        facts["tuning"] = f"{len(tuning.pixels)} pictures, SHA-256 {tuning.hash}; {order.tuning_images} for each corruption"
    return facts


def _side(prior: Any) -> int:
    """The side of a prior's pictures, which must be what corruptions and metrics take."""
    from code_jax.corruptions.registry import SIZES

    height, width, channels = prior.image_shape
    if height != width or channels != 3 or not SIZES[0] <= height <= SIZES[1]:
        raise UserError(
            f"the prior's pictures are {height}x{width}x{channels}; an evaluation takes squares of RGB from {SIZES[0]} pixels on"
        )
    return int(height)


def _check(args: argparse.Namespace, order: Any) -> None:
    check_batch_size(args.batch_size)
    for name in ("images", "costly_images", "tuning_images"):
        check_results(f"--{name.replace('_', '-')}", getattr(order, name), 100_000)
    if not args.severity or not all(1 <= severity <= 5 for severity in args.severity):
        raise UserError(f"--severity is {','.join(map(str, args.severity))}; severities are from 1 to 5")
    check_seed(args.seed)
    if not 0 <= args.bootstrap <= 10_000:
        raise UserError(f"--bootstrap is {args.bootstrap}; it must be from 0 to 10000")
    for value in args.eta_curve:
        OPTIONS["eta"].check(value)


def _counts(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(count(part) for part in text.split(",")))


def _etas(text: str) -> tuple[float, ...]:
    return tuple(eta(part) for part in text.split(","))
