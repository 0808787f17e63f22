"""What commands that measure pictures share: options, the prior, and a line for each picture, of a table or a JSON object."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from code_jax.cli.arguments import check_batch_size, check_seed, count
from code_jax.cli.runtime import keep_compiled, use_cores
from code_jax.errors import printable
from code_jax.priors import DEFAULT
from code_jax.progress import Progress, use
from code_jax.storage.address import absolute

if TYPE_CHECKING:
    from code_jax.priors.prior import Prior
    from code_jax.runs.gauge import Gauge, Reading
    from code_jax.runs.sources import Source

Facts = dict[str, Any]


class Form(NamedTuple):
    """How readings are told.

    Attributes:
        facts: what there is to say of the values measured; None where they are not finite.
        broken: what is said of those.
        head, row, end: of a table: its first line, a line of facts, and what is said of all lines and of failures.
    """

    facts: Callable[[Any], Facts | None]
    broken: str
    head: str
    row: Callable[[Facts], str]
    end: Callable[[list[Facts], int], str]


def add_inputs(parser: Any) -> None:
    """Adds what is measured and by which prior, and the form of the lines."""
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="pictures and folders of pictures")
    parser.add_argument("--prior", default=DEFAULT, help=f"name, hub id, folder, file (default: {DEFAULT})")
    parser.add_argument("--json", action="store_true", help="print a JSON object a picture, not a table")


def add_run(parser: Any, fits: Sequence[str] = ("resize", "crop")) -> Any:
    """Adds how a picture meets the prior, the seed, and details of the run, whose group it gives."""
    how = "squash, take the centre, or windows" if "tile" in fits else "squash, or take the centre"
    parser.add_argument("--fit", choices=fits, default="resize", help=how)
    parser.add_argument("--seed", type=count, default=0, help="what is random comes from it and the pixels")
    run_of = parser.details("details of the run")
    run_of.add_argument("--batch-size", type=count, help="pictures on a device at a time (default: 1 on a CPU, or 8)")
    parser.add_progress(run_of)
    return run_of


def prepared(args: argparse.Namespace) -> tuple[Prior, int]:
    """The prior, and how many pictures are on a device at a time; what it compiles is kept."""
    from code_jax.priors.load import load_prior
    from code_jax.runs.micro_batch import default_micro_batch

    check_batch_size(args.batch_size)
    check_seed(args.seed)
    keep_compiled()
    use_cores()
    prior = load_prior(args.prior, precision=getattr(args, "precision", "float32"))
    return prior, args.batch_size or default_micro_batch()


def tell(args: argparse.Namespace, sources: Sequence[Source], gauge: Gauge, settings: Facts, form: Form) -> int:
    """Measures the sources and prints a line for each, as it was asked for, with failures on stderr; 1 if one failed."""
    from code_jax.priors.hash import prior_hash
    from code_jax.runs.gauge import readings

    if args.progress == "auto" and sys.stdout.isatty():
        use("none")  # the lines tell it
    lines = _lines(readings(sources, gauge, args.fit), len(sources), form)
    if not args.json:
        return _print_table(lines, form)
    noted = {name: getattr(args, name) for name in ("prior", "precision", "fit") if hasattr(args, name)} | settings
    common = {"settings": noted, "prior_hash": prior_hash(gauge.prior), "seed": gauge.seed, "micro_batch": gauge.micro_batch}
    return _print_objects(lines, common)


def _lines(readings: Iterable[Reading], total: int, form: Form) -> Iterator[Facts]:
    progress = Progress(total, total)
    for reading in readings:
        facts = None if reading.failure is not None else form.facts(reading.values)
        line: Facts = {"input": absolute(reading.source.path)}
        if facts is None:
            line |= {"status": "failed", "error": reading.failure or form.broken}
            print(printable(f"code-jax: failed {str(reading.source.path)!r}: {line['error']}"), file=sys.stderr)
        else:
            line |= {"status": "done", "hash": reading.digest} | facts
        yield line
        progress.advance(1)


def _print_objects(lines: Iterable[Facts], common: Facts) -> int:
    failed = 0
    for line in lines:
        failed += line["status"] == "failed"
        print(json.dumps(line | common), flush=True)
    return 1 if failed else 0


def _print_table(lines: Iterable[Facts], form: Form) -> int:
    done: list[Facts] = []
    failed = 0
    for line in lines:
        if line["status"] == "failed":
            failed += 1
            continue
        if not done:
            print(f"{form.head}  picture")
        done.append(line)
        print(printable(f"{form.row(line)}  {line['input']}"), flush=True)
    if done:
        print(form.end(done, failed))
    return 1 if failed else 0
