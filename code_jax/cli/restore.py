"""``code-jax restore``: files and folders of pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from code_jax.cli.arguments import (
    add_engine,
    add_fit,
    at,
    batch_size,
    check_batch_size,
    check_engine,
    check_results,
    check_seed,
    count,
    folder_or_address,
    label,
    shard,
)
from code_jax.cli.runtime import engine_of
from code_jax.cli.settings import add_settings, settings_of, warn_of_precision
from code_jax.errors import UserError
from code_jax.priors import DEFAULT
from code_jax.runs.shards import WHOLE
from code_jax.storage.address import Place

_DESCRIPTION = "Makes likely pictures near the inputs, which are damaged, strokes or composites."
_EPILOG = """examples:
  code-jax restore photo.png --out restored --preset local
  code-jax restore strokes.png --out edited --mask mask.png --samples 4
  code-jax restore folder --out restored --prior google/ddpm-ema-celebahq-256
"""


_PLACES = {"keep_size": False, "format": "png", "quality": None, "animated": "first", "suffix": ""}


def add_to(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("restore", help="restore or edit pictures", description=_DESCRIPTION, epilog=_EPILOG)
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="pictures, folders of pictures, or their addresses")
    add("--out", type=folder_or_address, required=True, help="folder, or address, for results and manifest")
    add("--prior", default=DEFAULT, help=f"name, hub id, address (default: {DEFAULT})")
    add("--mask", type=at, help="picture, bright where the inputs may change")
    add("--samples", type=count, default=1, help="results a picture; their diversity is reported")
    add("--seed", type=count, default=0, help="default: 0")
    add("--keep-size", action="store_true", help="bring results back to their originals' sizes")
    add("--compare", action="store_true", help="write contact_sheet.png")
    add("--report", action="store_true", help="write it, and report.html with sliders")

    add_settings(parser)
    files = parser.details("details of the files")
    add_fit(parser, parser)
    add = files.add_argument
    add("--label", type=label, metavar="N|none", help="class of the pictures, of a prior with classes")
    add("--reference", type=at, help="folder of clean sources with the inputs' names")
    add("--format", choices=("png", "same", "webp", "jpeg"), default="png", help="of the results (default: png)")
    add("--quality", type=count, help="1..100 of lossy formats (JPEG: 95, WebP: lossless)")
    add("--suffix", default="", metavar="TEXT", help="added to the results' names")
    add("--animated", choices=("first", "refuse"), default="first", help="take the first of several frames, or none")
    add("--likelihood", action="store_true", help="tell bits per dimension before and after, for 45 times the cost")
    add("--overwrite", action="store_true", help="replace results of other settings in --out")
    add("--dry-run", action="store_true", help="look at all that is given, say what there is to do, and make nothing")
    add("--retry-failed", action="store_true", help="try again what failed in an earlier run")

    run_of = parser.details("details of the run")
    add = run_of.add_argument
    add("--batch-size", type=batch_size, metavar="auto|N", help="on a device at a time (default: --out's own; 1 on a CPU, or 8)")
    add("--devices", type=count, metavar="N", help="use the first N devices (default: all)")
    add("--precision", default="float32", metavar="float32|bfloat16", help="inside the network")
    share = run_of.add_mutually_exclusive_group()
    share.add_argument("--shard", type=shard, default=WHOLE, metavar="I/N", help="the I-th of N shares, for N runs into --out")
    share.add_argument("--distributed", action="store_true", help="the share of this process in jax.distributed")
    add_engine(run_of)
    parser.add_progress(run_of)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Restores; 1 if some inputs failed."""
    from code_jax.pictures.encode import possible_endings
    from code_jax.runs.folder import check_folder
    from code_jax.runs.sources import check_output, sources_of, without_partner

    check_counts(args)
    check_engine(args)
    _check_places(args)
    sources = sources_of(args.inputs, args.out, args.reference, suffix=args.suffix)
    if args.dry_run:
        check_folder(args.out, "restore")
    else:
        check_output(args.out, sources, "restore", possible_endings(args.format), args.samples)
    if args.reference is not None and isinstance(sources, list) and (alone := without_partner(sources)):
        print(f"code-jax: warning: {alone} in {str(args.reference)!r}", file=sys.stderr)

    with engine_of(args) as cluster:
        summary = _restore(args, sources, cluster)
    if summary is None:
        return 0
    _print_summary(summary, args.out)
    return 128 + summary.signal if summary.signal else 1 if summary.failed else 0


def _restore(args: argparse.Namespace, sources: Any, cluster: Any) -> Any:
    from code_jax.editing.conditions import labelled
    from code_jax.editing.edit import number_of_moves
    from code_jax.editing.settings import to_plain
    from code_jax.priors.load import load_prior
    from code_jax.runs.job import Job, check_fit, larger_fit
    from code_jax.runs.micro_batch import default_micro_batch, halving, largest_fitting, recorded
    from code_jax.runs.restore import restore_files
    from code_jax.runs.shards import from_jax

    shard = from_jax() if args.distributed and not args.dry_run else args.shard
    prior = load_prior(args.prior, precision=args.precision)
    if args.likelihood and prior.codec is not None:
        raise UserError("--likelihood is of pixels, and a latent prior's density is of latents; leave it out")
    config = settings_of(args, prior)
    warn_of_precision(args.precision)
    places = {name: getattr(args, name) for name in ("keep_size", "format", "quality", "animated")}
    check_fit(args.fit, config.method)
    noted = {name: getattr(args, name) for name in ("prior", "precision", "fit")} | to_plain(config)
    noted |= {name: value for name, value in (places | {"suffix": args.suffix}).items() if value != _PLACES[name]}
    noted |= labelled(prior, args.label, config)
    noted |= {} if args.max_side is None else {"max_side": args.max_side}
    mask = None if args.mask is None else _mask(args.mask, prior.image_shape, args.fit)
    size = args.batch_size
    if size is None:
        size = recorded(args.out) or (cluster.micro_batch if cluster else default_micro_batch())
    elif size == "auto":
        results = len(sources) * args.samples if isinstance(sources, list) else None
        size = recorded(args.out) or largest_fitting(prior, config, args.devices, results)
    job = Job(
        args.samples, args.seed, size, args.fit, larger_fit(prior, config.method), args.max_side, args.compare or args.report,
        args.report, noted, mask, overwrite=args.overwrite, retry_failed=args.retry_failed, likelihood=args.likelihood,
        label=args.label, devices=args.devices, **places,
    )  # fmt: skip

    if args.dry_run:
        results = f"{len(sources) * args.samples} results" if isinstance(sources, list) else f"what {sources.address} lists"
        evaluations = number_of_moves(prior, config)[1]
        cost = f"{evaluations} evaluations an image or window, {size} at a time on a device"
        print(f"{results}: {cost}; nothing was opened or made")
        return None

    def restore(job: Job) -> Any:
        return restore_files(sources, args.out, prior, config, job, shard, cluster)

    return halving(restore, job, args.out, given=size == args.batch_size)


def _print_summary(summary: Any, out: Place) -> None:
    from code_jax.runs.account import evaluations

    kept = f", done before {summary.kept}" if summary.kept else ""
    print(f"restored {summary.done}{kept}, failed {summary.failed}; results are in {str(out)!r}")
    print(f"{evaluations(*summary.nfe)} a result, {summary.seconds:.1f} s, {summary.waited:.1%} of it waiting for files")
    if summary.before:
        before, after = _mean(summary.before), _mean(summary.after)
        print(f"PSNR to the clean source, mean of {len(summary.before)}: {before:.2f} dB before, {after:.2f} dB after")
    if summary.fidelity:
        print(f"fidelity: PSNR to the input, mean of {len(summary.fidelity)}: {_mean(summary.fidelity):.2f} dB")
    if summary.codec:
        print(f"codec: PSNR of what it alone gives back, mean of {len(summary.codec)}: {_mean(summary.codec):.2f} dB")
    if summary.bits:
        before, after = map(_mean, zip(*summary.bits, strict=True))
        raised = sum(after < before for before, after in summary.bits)
        likelier = f"likelier than before: {raised} of {len(summary.bits)}"
        print(f"likelihood: {before:.3f} bits per dimension before, {after:.3f} after; {likelier}")
    if summary.diversity:
        number = len(summary.diversity)
        print(f"diversity: RMS difference among an input's samples, mean of {number}: {_mean(summary.diversity):.4f} (range 2)")
    if summary.signal:
        print("interrupted: the same command goes on from here")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _mask(path: Place, shape: tuple[int, int, int], fit: str) -> Any:
    from code_jax.pictures.files import read_mask
    from code_jax.pictures.loading import PictureError

    try:
        return read_mask(path, shape, fit)
    except PictureError as error:
        raise UserError(f"the mask {str(path)!r} cannot be read: {error}") from error


def _check_places(args: argparse.Namespace) -> None:
    if args.quality is not None and not 1 <= args.quality <= 100:
        raise UserError(f"--quality is {args.quality}; it must be from 1 to 100")
    if "/" in args.suffix or "\0" in args.suffix:
        raise UserError(f"--suffix is {args.suffix!r}; it is a part of a name, without a slash")
    sheet = "--compare" if args.compare else "--report" if args.report else None
    if sheet and (args.distributed or not args.shard.is_whole):
        raise UserError(f"{sheet} is of all the pictures: run once more without --shard when all shares are done")


def check_counts(args: argparse.Namespace) -> None:
    """Raises UserError for a count or seed that cannot be."""
    check_results("--samples", args.samples, 10_000)
    check_batch_size(args.batch_size)
    check_seed(args.seed)
