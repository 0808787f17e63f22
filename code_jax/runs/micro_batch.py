"""How many pictures a device takes at a time: what results belong to, what memory holds, and less where it does not."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable

import jax

from code_jax.devices.memory import out_of_memory
from code_jax.devices.mesh import free_memory, local_devices, weights_of
from code_jax.editing.memory import working_memory
from code_jax.editing.settings import Settings
from code_jax.errors import UserError
from code_jax.priors.prior import Prior
from code_jax.runs.folder import identity_of
from code_jax.runs.job import Job
from code_jax.runs.manifest import told_lines
from code_jax.runs.summary import Summary
from code_jax.storage.address import Address, Place

_PROBED, _MOST = 8, 64  # the analysed micro-batch, and the one beyond which no device gains
_SHARE = 0.8  # of the free memory: allocators need room between


def recorded(out: Place) -> int | None:
    """The micro-batch that the results in a folder belong to, if it has any."""
    told = [identity_of(out) or {}] if isinstance(out, Address) else told_lines(out)
    return next((line["micro_batch"] for line in told if "micro_batch" in line), None)


def default_micro_batch() -> int:
    """8; on a CPU 1, where more at a time gain an image less than a fifth, and a single picture would pay for all of them."""
    return 1 if jax.default_backend() == "cpu" else 8


def largest_fitting(prior: Prior, settings: Settings, devices: int | None, results: int | None) -> int:
    """The largest power of two that fits the devices' memory, by the compiled program's analysis.

    No more than there are results, where their number is known.

    devices: as `Job.devices`. Compiles the edit at micro-batch 8.
    """
    used = local_devices(devices)
    free = min(free_memory(device) for device in used) / (len(used) if used[0].platform == "cpu" else 1)
    return fitting(
        free, weights_of(prior), working_memory(prior, settings, _PROBED), _MOST if results is None else results / len(used)
    )


def fitting(free: float, weights: float, working: float, results: float = _MOST) -> int:
    """The largest power of two of pictures for a device's free memory, bytes of weights and bytes of work on a picture."""
    most = max(min((_SHARE * free - weights) / working, results, _MOST), 1)
    return int(2 ** (int(most).bit_length() - 1))


def halving(run: Callable[[Job], Summary], job: Job, out: Place, *, given: bool) -> Summary:
    """Runs a job, with half the micro-batch as long as memory does not suffice and no result belongs to the whole one.

    Raises:
        UserError: if memory does not suffice for one picture, the micro-batch was `given`, or results in the folder belong to it.
    """
    while True:
        try:
            return run(job)
        except jax.errors.JaxRuntimeError as error:
            if not out_of_memory(error):
                raise
            reason = str(error).splitlines()[0]
        size = job.micro_batch
        if size == 1:
            raise UserError(f"out of memory with one picture on a device at a time: {reason}")
        if any(line["status"] == "done" for line in told_lines(out)):
            raise UserError(
                f"out of memory with {size} pictures on a device at a time, which the results in {str(out)!r} belong to; "
                f"free some memory, or start anew with --batch-size {size // 2} --overwrite"
            )
        if given:
            raise UserError(
                f"out of memory with {size} pictures on a device at a time; give --batch-size {size // 2} --overwrite"
            )
        print(f"code-jax: out of memory with {size} pictures on a device at a time; again with {size // 2}", file=sys.stderr)
        job = dataclasses.replace(job, micro_batch=size // 2, overwrite=True)
