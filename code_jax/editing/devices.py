"""The devices of this process, and how a batch lies on them: each image whole on one, so that an edit needs no communication."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from code_jax.errors import UserError


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
