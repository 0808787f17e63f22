"""Edits a second by batch size, memory, share of the peak and difference of ε: rows of a table that is kept of many devices."""

from __future__ import annotations

import datetime
import functools
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from code_jax.bench.measure import in_turn, spread
from code_jax.devices.memory import out_of_memory
from code_jax.documents import read_text
from code_jax.durable import write_durably
from code_jax.editing.edit import edit, number_of_moves
from code_jax.editing.keys import image_keys
from code_jax.editing.memory import working_memory
from code_jax.editing.settings import EditConfig
from code_jax.errors import UserError
from code_jax.priors.prior import Prior
from code_jax.version import __version__

# Dense bfloat16 FLOP a second of one device as JAX counts devices, by a part of its name: the makers' data sheets.
_PEAKS = {
    "H200": 989e12, "H100": 989e12, "A100": 312e12, "L4": 121e12, "T4": 65e12, "V100": 125e12,
    "TPU v2": 23e12, "TPU v3": 61e12, "TPU v4": 275e12, "TPU v5 lite": 197e12, "TPU v5": 459e12, "TPU v6 lite": 918e12,
}  # fmt: skip

HEAD = (
    "prior", "device", "precision", "batch", "images a second", "evaluations of each", "TFLOP a second and device",
    "share of the bfloat16 peak", "MiB an image", "largest difference of ε", "measured",
)  # fmt: skip
_KEY = 4  # cells that a row is known by


def throughput(
    name: str, prior: Prior, precision: str, config: EditConfig, batches: Sequence[int], runs: int
) -> Iterator[tuple[str, ...]]:
    """A row of `HEAD` for each batch size, medians of the runs.

    Args:
        name, prior: what is measured.
        precision: of the network, "float32" or "bfloat16".
        config: the edit.
        batches: images at a time, on as many devices as each divides among.
        runs: of which the median is taken.
    """
    prior = prior.with_precision(precision)
    nfe, kind, worst = number_of_moves(prior, config)[1], jax.devices()[0].device_kind, difference(prior)
    kind = f"{platform.machine()} core" if kind == "cpu" else kind
    peak = next((value for part, value in _PEAKS.items() if part in kind), None)
    made = f"code_jax {__version__}, jax {jax.__version__}, Python {platform.python_version()}, {datetime.date.today()}"
    for batch in batches:
        everywhere, shared = spread(prior, batch)
        images = jax.device_put(jnp.zeros((batch, *prior.image_shape)), shared)
        edited = functools.partial(edit, image_keys(jax.random.key(0), images), everywhere, images, config)
        try:
            seconds = float(np.median(in_turn([lambda: edited().images], runs)))  # noqa: B023
        except jax.errors.JaxRuntimeError as error:
            if out_of_memory(error):
                raise UserError(f"out of memory with {batch} images at a time; give smaller --batches") from error
            raise
        devices = len(shared.mesh.devices)
        rate = flops(prior, batch) * nfe / seconds / devices
        share = "its peak is unknown" if peak is None else f"{rate / peak:.3g}"
        memory = f"{working_memory(prior, config, batch) / 2**20:.3g}"
        yield (
            *(name, f"{devices} × {kind}", precision, str(batch), f"{batch / seconds:.3g}", str(nfe), f"{rate / 1e12:.3g}"),
            *(share, memory, f"{worst:.1e}", made),
        )


def flops(prior: Prior, batch: int) -> float:
    """Multiplications and additions of an evaluation of a batch, as the program states them before the compiler's changes."""
    images = jnp.zeros((batch, *prior.image_shape))
    analysis: Any = jax.jit(Prior.eps_at).lower(prior, images, jnp.ones(())).cost_analysis()
    return float(analysis["flops"])


def difference(prior: Prior, sigma: float = 0.72) -> float:
    """The largest difference of ε, which is about 1 in size, from that of the float32 network on this machine's processor."""
    z = np.random.default_rng(0).standard_normal((2, *prior.image_shape)).astype(np.float32)
    placed = (prior, jax.device_put(prior.with_precision("float32"), jax.local_devices(backend="cpu")[0]))
    found, exact = (np.asarray(jax.jit(Prior.eps_at)(each, z, np.float32(sigma))) for each in placed)
    return float(np.abs(found - exact).max())


def kept(path: Path) -> list[str]:
    """The lines of a file that rows are put into; none where there is no file yet.

    Raises:
        UserError: if it cannot be read.
    """
    return read_text(path).splitlines() if os.path.lexists(path) else []


def keep(path: Path, row: tuple[str, ...]) -> None:
    """Puts a row into a Markdown file's table of this head, in place of one of the same; adds the table where there is none.

    Raises:
        UserError: if the file cannot be read or written.
    """
    head, lines = [_line(HEAD), "|---" * len(HEAD) + "|"], kept(path)
    try:
        if head[0] not in lines:
            lines += ["", *head] if lines else head
        first = lines.index(head[0]) + 2
        last = next((i for i in range(first, len(lines)) if not lines[i].startswith("|")), len(lines))
        table = {_key(line): line for line in [*lines[first:last], _line(row)]}
        write_durably(path, "\n".join([*lines[:first], *table.values(), *lines[last:]]) + "\n")
    except OSError as error:
        raise UserError(f"--table {str(path)!r} cannot be written: {error}") from error


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _key(line: str) -> tuple[str, ...]:
    return tuple(line.split(" | ")[:_KEY])
