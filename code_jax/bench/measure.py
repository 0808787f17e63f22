"""Times and memory of the network, an edit, a sweep and thresholding: medians, and ratios to the network within one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from code_jax.devices.mesh import local_devices, sharding
from code_jax.devices.one_by_one import apart
from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.thresholding import DynamicThreshold
from code_jax.editing.edit import edit, number_of_moves
from code_jax.editing.inversion import decode
from code_jax.editing.keys import image_keys
from code_jax.editing.memory import working_memory
from code_jax.editing.points import SweepGrid
from code_jax.editing.settings import EditConfig
from code_jax.editing.sweep import sweep
from code_jax.metrics import psnr
from code_jax.priors.prior import Prior

Task = Callable[[], Any]


class Row(NamedTuple):
    """A line of the table: what, the median with its unit, and the smallest and largest of the runs."""

    what: str
    median: str
    spread: str


def in_turn(tasks: Sequence[Task], runs: int) -> list[list[float]]:
    """Seconds [task][run] of tasks run in turn, so that the machine's drift hits all alike; each is first run once to compile."""
    for task in tasks:
        jax.block_until_ready(task())
    seconds: list[list[float]] = [[] for _ in tasks]
    for _ in range(runs):
        for task, times in zip(tasks, seconds, strict=True):
            begun = time.perf_counter()
            jax.block_until_ready(task())
            times.append(time.perf_counter() - begun)
    return seconds


def ratio(what: str, above: Sequence[float], below: Sequence[float], scale: float = 1.0) -> Row:
    """The ratio of two tasks' seconds, run by run."""
    ratios = [scale * a / b for a, b in zip(above, below, strict=True)]
    return Row(what, f"{statistics.median(ratios):.3f}", f"{min(ratios):.3f} to {max(ratios):.3f}")


def milliseconds(what: str, seconds: Sequence[float], units: float) -> Row:
    """Milliseconds a unit."""
    each = [1e3 * second / units for second in seconds]
    return Row(what, f"{statistics.median(each):.2f} ms", f"{min(each):.2f} to {max(each):.2f}")


def spread(prior: Denoiser, batch: int) -> tuple[Any, NamedSharding]:
    """The prior on as many devices as a batch divides among, and how the batch lies on them."""
    devices = local_devices()
    devices = devices[: max(count for count in range(1, len(devices) + 1) if batch % count == 0)]
    return jax.device_put(prior, sharding(devices)), sharding(devices, "batch")


def network_task(denoiser: Denoiser, image_shape: tuple[int, int, int], batch: int, calls: int = 1) -> Task:
    """`calls` evaluations of a denoiser, one after the other in one program as an edit makes them."""
    denoiser, shared = spread(denoiser, batch)

    @jax.jit
    def evaluate(denoiser: Denoiser, x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, calls, lambda _, z: 0.5 * (z + denoiser.eps_at(z, jnp.ones((), z.dtype))), x)

    x = jax.device_put(jax.random.normal(jax.random.key(0), (batch, *image_shape)), shared)
    denoiser = apart(denoiser, x)  # as an edit does
    return lambda: evaluate(denoiser, x)


def measure(
    prior: Prior, config: EditConfig, batch: int, runs: int, grids: Sequence[SweepGrid], others: Sequence[EditConfig]
) -> list[Row]:
    """The rows that need nothing but this package.

    Args:
        prior, config: what is measured.
        batch: images at a time, on as many devices as it divides among.
        runs: of which the median is taken.
        grids: of sweeps of one image.
        others: edits by other methods, to stand beside.
    """
    nfe = number_of_moves(prior, config)[1]
    images = jnp.zeros((batch, *prior.image_shape))
    everywhere, shared = spread(prior, batch)
    keys, images = jax.device_put((image_keys(jax.random.key(0), images), images), shared)
    sweeps = [lambda grid=grid: sweep(jax.random.key(0), prior, images[:1], grid, config) for grid in grids]
    made = [swept() for swept in sweeps]
    edits = [lambda config=each: edit(keys, everywhere, images, config).images for each in (config, *others)]
    network, threshold, whole, *rest = in_turn(
        [
            network_task(prior, prior.image_shape, batch, nfe),
            network_task(DynamicThreshold(prior), prior.image_shape, batch, nfe),
            *edits,
            *[lambda swept=swept: swept().images for swept in sweeps],
        ],
        runs,
    )
    theirs, of_sweeps = rest[: len(others)], rest[len(others) :]
    extra = [a - b for a, b in zip(threshold, network, strict=True)]
    rows = [
        milliseconds(f"network, an evaluation of an image, batch {batch}", network, nfe * batch),
        milliseconds(f"edit of {nfe} evaluations, an image", whole, batch),
        ratio("edit / (evaluations × network)", whole, network),
        *[
            ratio(
                f"sweep of {len(result.points)} points / ({result.evaluations} evaluations × network)",
                seconds,
                network,
                nfe * batch / result.evaluations,
            )
            for result, seconds in zip(made, of_sweeps, strict=True)
        ],
        ratio("dynamic thresholding / network", extra, network),
        *memory(prior, config, batch),
    ]
    for other, seconds in zip(others, theirs, strict=True):
        name = f"{other.program.method} of {number_of_moves(prior, other)[1]} evaluations"
        rows += [ratio(f"{name} / edit", seconds, whole), working(name, prior, other, batch)]
    return [*rows, in_bfloat16(prior, config, batch)]


def in_bfloat16(prior: Prior, config: EditConfig, batch: int) -> Row:
    """What a bfloat16 network changes in the edits of pictures that the prior made itself."""
    images = decode(prior, jax.random.normal(jax.random.key(1), (batch, *prior.image_shape)), depth=1.0, num_steps=20)
    networks = [prior.with_precision(precision) for precision in ("float32", "bfloat16")]
    exact, rough = (edit(jax.random.key(0), each, images.clip(-1, 1), config).images for each in networks)
    values = psnr(rough, exact)
    return Row(
        "bfloat16 network: PSNR to the float32 network's results", f"{jnp.median(values):.1f} dB",
        f"{values.min():.1f} to {values.max():.1f}, {batch} images",
    )  # fmt: skip


def memory(prior: Prior, config: EditConfig, batch: int) -> list[Row]:
    """The weights, and what an edit needs beside them."""
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves(prior.params))
    return [Row("weights", f"{weights / 2**20:.1f} MiB", ""), working("edit", prior, config, batch)]


def working(name: str, prior: Prior, config: EditConfig, batch: int) -> Row:
    """The compiled program's own account of its peak, beside the weights."""
    each = working_memory(prior, config, batch)
    return Row(f"{name}: working memory, an image", f"{each / 2**20:.1f} MiB", "of the compiler's analysis")


def default_grids(points: int) -> list[SweepGrid]:
    """Two of about so many points: step sizes at five levels with two seeds (10 points at least), and at two levels.

    The first's ten encodings fill chunks, the second's two do not.
    """
    few, many = (tuple(np.geomspace(0.005, 0.4, max(points // share, 1)).tolist()) for share in (10, 2))
    return [
        SweepGrid(relative_step=few, sigma=(0.35, 0.7, 1.2, 2.0, 3.4), seeds=2),
        SweepGrid(relative_step=many, sigma=(0.7, 2.0)),
    ]


def with_fewer_steps(config: EditConfig, ode_steps: int | None, langevin_steps: int | None) -> EditConfig:
    """The config with its counts of steps replaced where given."""
    changes = {"num_steps": ode_steps, "langevin_steps": langevin_steps}
    given: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    return config.with_program(**given)
