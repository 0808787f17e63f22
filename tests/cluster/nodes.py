"""A cluster of Ray with several nodes on this machine, each with processes of its own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from code_jax.cluster.cluster import _ENVIRONMENT

_SMALL = {"object_store_memory": 100 * 2**20, "include_log_monitor": False}


class Nodes:
    """A running cluster: its head has no room for workers, so that every worker's node can go.

    Attributes:
        address: what --address takes.
    """

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._cluster.add_node(num_cpus=0, include_dashboard=False, no_monitor=True, **_SMALL)
        self.address = cluster.address
        self.others: list[Any] = []

    def add(self, cpus: int) -> None:
        """Adds a node that so many workers find place on."""
        self.others.append(self._cluster.add_node(num_cpus=cpus, **_SMALL))

    def remove(self) -> None:
        """Takes the oldest node away, with all that runs on it."""
        self._cluster.remove_node(self.others.pop(0), allow_graceful=False)


@contextlib.contextmanager
def nodes(*cpus: int) -> Iterator[Nodes]:
    """A cluster with a node for each number of CPUs; it listens on loopback alone."""
    os.environ.update(_ENVIRONMENT)
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        running = Nodes(cluster)
        for each in cpus:
            running.add(each)
        yield running
    finally:
        cluster.shutdown()
