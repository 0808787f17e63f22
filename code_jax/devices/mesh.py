"""The devices of this process, and how a batch lies on them: each image whole on one, so that an edit needs no communication."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from code_jax.errors import UserError

_SHARE_OF_COPIES = 0.25  # of the memory that devices share, for their copies of the weights


def local_devices(count: int | None = None) -> list[jax.Device]:
    """The first `count` of this process's devices, or all.

    Raises:
        UserError: if there are not so many.
    """
    devices = jax.local_devices()
    if count is not None and not 1 <= count <= len(devices):
        raise UserError(f"devices is {count}; this process has {len(devices)} of kind {devices[0].platform}")
    return devices[:count]


def sharding(devices: Sequence[jax.Device], *axes: str) -> NamedSharding:
    """A batch shared among devices ("batch"), or the same on all of them."""
    return NamedSharding(Mesh(np.array(devices), ("batch",)), PartitionSpec(*axes))


def devices_for(denoiser: Any, batches: int, count: int | None = None) -> list[jax.Device]:
    """Of the first `count` devices, or all, as many as so many batches of one device occupy; at least one.

    Where they are cores that share a memory, no more than it holds copies of the weights for.
    """
    devices = local_devices(count)
    if devices[0].platform == "cpu":
        batches = min(batches, int(_SHARE_OF_COPIES * free_memory(devices[0]) / max(weights_of(denoiser), 1)))
    return devices[: max(batches, 1)]


def weights_of(denoiser: Any) -> int:
    """Bytes of a denoiser's weights, and whatever else it holds."""
    return sum(np.size(leaf) * jax.numpy.result_type(leaf).itemsize for leaf in jax.tree.leaves(denoiser))


def free_memory(device: jax.Device) -> int:
    """Bytes that a device has left; for a CPU, of the machine's memory."""
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"] - stats["bytes_in_use"])
    free = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
    return os.sysconf(free) * os.sysconf("SC_PAGE_SIZE")
