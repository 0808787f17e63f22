"""Workers of a real cluster that are killed, whose nodes go, and what they raise; nothing is lost, and nothing done twice.

Under load a worker takes up to a minute to start: these tests take minutes.
"""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

from code_jax.cluster.assignments import SLOTS
from code_jax.cluster.cluster import Cluster
from code_jax.errors import UserError
from code_jax.interruption import Interruption
from tests.cluster.workers import Sleeper, nothing

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def running():
    from tests.cluster.nodes import nodes

    with nodes(1, 1) as running:
        yield running


@pytest.fixture
def cluster(running):
    with Cluster(running.address, 2, nothing) as cluster:
        yield cluster


def test_all_is_done_once_while_workers_are_killed_and_what_kills_is_given_up(cluster, tmp_path):
    """Three kills from outside, each of a worker at work, beside an item of which workers die."""
    items, stop = [*range(30), "kill", *range(30, 60)], threading.Event()

    def kill():
        for number in range(3):
            while len(list(tmp_path.glob("[0-9]*-*"))) < 15 * (number + 1) and not stop.wait(0.02):
                pass
            newest = max((tmp_path / "pids").iterdir(), key=lambda path: path.stat().st_mtime_ns)
            try:
                os.kill(int(newest.name), signal.SIGKILL)
            except ProcessLookupError:
                continue

    killer = threading.Thread(target=kill)
    killer.start()
    found = list(cluster.do(Sleeper, (str(tmp_path), 0.05), items, Interruption()))
    stop.set()
    killer.join()
    assert Counter(item for item, _ in found) == Counter(items)
    given_up = [item for item, result in found if result is None]
    assert given_up == ["kill"] and all(result[0] == item for item, result in found if result)
    assert len(list(tmp_path.glob("kill-*"))) == 3
    assert len(list((tmp_path / "pids").iterdir())) >= 5  # those that died, and two that did not


def test_a_lost_node_is_made_good_by_another(running, tmp_path):
    pids, taken = set(), []

    def stream():  # until the new one takes its part
        for number in itertools.count():
            if len(pids) > 2:
                return
            taken.append(number)
            yield number

    with Cluster(running.address, 2, nothing) as cluster:
        found = []
        for item, result in cluster.do(Sleeper, (str(tmp_path), 0.05), stream(), Interruption()):
            found.append(item)
            assert result is not None
            pids.add(result[1])
            if len(found) == 40:
                running.remove()
                running.add(1)
    assert sorted(found) == taken and len(pids) == 3


def test_a_stream_is_taken_as_it_is_done_and_slow_items_hold_no_other_back(cluster, tmp_path):
    taken, ahead, late, begun = [], [], 0.0, time.monotonic()

    def stream():
        for number in range(100):
            taken.append(number)
            yield 10.0 if number == 3 else number

    for done, (item, _) in enumerate(cluster.do(Sleeper, (str(tmp_path), 0.02), stream(), Interruption()), 1):
        ahead.append(len(taken) - done)
        late = len(taken) if item == 10.0 else late
    assert late == 100  # the others were taken while it was done
    assert max(ahead) < 2 * SLOTS * 2
    assert time.monotonic() - begun < 90


def test_what_a_worker_raises_is_raised(cluster, tmp_path):
    with pytest.raises(OSError, match="No space left on device") as failed:
        list(cluster.do(Sleeper, (str(tmp_path), 0.0), [1, "raise", 2], Interruption()))
    assert failed.value.filename == "gs://bucket/a.png"
    with pytest.raises(UserError, match="no such folder"):
        list(cluster.do(_refusing, (), [1], Interruption()))


def _refusing():
    raise UserError("no such folder")


def test_what_is_stopped_ends_with_what_was_handed_out(cluster, tmp_path):
    found, interruption = [], Interruption()
    for each in cluster.do(Sleeper, (str(tmp_path), 0.05), itertools.count(), interruption):
        found.append(each)
        if len(found) == 10:
            interruption.signal = signal.SIGINT
    began = Counter(int(path.name.partition("-")[0]) for path in tmp_path.glob("[0-9]*-*"))
    assert began == Counter(item for item, _ in found) and 10 <= len(found) <= 10 + 2 * SLOTS * 2
    assert sorted(began) == [*range(len(found))]


def test_no_cluster_is_one_line():
    program = "from code_jax.cluster.cluster import Cluster; from code_jax.errors import UserError\n"
    program += "try: Cluster('127.0.0.1:1', 1, print)\nexcept UserError as error: print(error)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.startswith("there is no cluster of Ray at '127.0.0.1:1': ") and said.count("\n") == 1
