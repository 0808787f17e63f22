"""Ray: a cluster that is started on this machine or joined, and work that its actors do."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from code_jax.cluster.assignments import SLOTS, Assignments, Call
from code_jax.errors import UserError
from code_jax.interruption import Interruption

Item = TypeVar("Item")

_SECONDS_TO_ANSWER = 10.0  # of a cluster that one gives the address of
_PATIENCE = 60.0  # seconds without a worker before that is said
_STARTS = 3  # of a worker, after which one that died each time before its first work is given up
_MOMENT = 0.2  # seconds that are waited before one looks whether to stop
_PAUSE = 0.5  # seconds after which a worker that was lost is asked whether there is another in its place
_ENVIRONMENT = {  # of a cluster of this machine alone: nothing is reported, and nothing listens beyond loopback
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_health_check_timeout_ms": "60000",  # its workers may leave no time for an answer
}


class Worker(Protocol):
    """What an actor does; several threads call `work`."""

    size: int
    """Items of a call."""

    def work(self, items: list[Any]) -> list[Any]:
        """A result for each item."""


class Cluster:
    """Ray's actors, each with a device or the devices of a host.

    Args:
        address: of a running cluster, as Ray has it; None starts one on this machine, which goes with this process.
        actors: how many; None is as many as the cluster has GPUs, or hosts. Where there are only CPUs, they share them all.
        setup: what each actor's process does before anything else, given its CPUs, or None where it has an accelerator.

    Raises:
        UserError: if Ray is not installed, or there is no such cluster.
    """

    def __init__(self, address: str | None, actors: int | None, setup: Callable[[int | None], None]) -> None:
        self._ray, self._setup = _library(local=address is None), setup
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if address is None:
                self._ray.init(include_dashboard=False, **quiet)
            else:
                _reach(address)
                self._ray.init(address=address, **quiet)
        except Exception as error:  # Ray raises its bare class, too, where its processes are slow to start
            reason = (str(error).strip().splitlines() or ["no answer"])[0]
            raise UserError(f"there is no cluster of Ray at {address or 'this machine'!r}: {reason}") from error
        self._options, units = _unit([node["Resources"] for node in self._ray.nodes() if node["Alive"]], actors)
        self.actors = actors or units

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    @property
    def micro_batch(self) -> int:
        """Pictures that a device takes at a time where nothing else is said: 1 on CPUs, which gain little by more, else 8."""
        return 1 if "num_cpus" in self._options else 8

    def put(self, value: Any) -> Any:
        """A value that actors are to be given, once for all of them."""
        return self._ray.put(value)

    def do(
        self, make: Callable[..., Worker], args: tuple[Any, ...], items: Iterable[Item], interruption: Interruption
    ) -> Generator[tuple[Item, Any], None, None]:
        """Each item with its result, as they come; None of those that were given up because workers died with them.

        Args:
            make: makes an actor's worker of `args`, of which those that `put` gave are the values.
            items: taken as they are handed out.
            interruption: looked at often: after a first signal no more is handed out, a second ends the work.

        Raises:
            UserError: if no worker comes up, or the cluster goes.
            Dropped: after a second signal.
            Exception: what a worker raised.
        """
        run = _Run(self._ray, self._start, (make, *args), self.actors, items)
        try:
            yield from run.results(interruption)
        finally:
            run.end()

    def _start(self) -> Any:
        # Ray starts an actor again and again, and calls nothing twice.
        options = self._options | {"max_restarts": -1, "max_task_retries": 0, "max_concurrency": SLOTS + 1}
        return (
            self._ray.remote(_Actor)
            .options(**options, scheduling_strategy="SPREAD")
            .remote(self._setup, self._options.get("num_cpus"))
        )


def _reach(address: str) -> None:
    """Raises OSError where nobody listens, which Ray itself tries for minutes. A name such as "auto" is Ray's to find."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_ANSWER).close()


class _Actor:
    """Holds a worker, which is made when its size is asked for, so that what goes wrong is raised, not a death.

    What it is made of may be JAX's, which begins as that arrives: the setup comes before.
    """

    def __init__(self, setup: Callable[[int | None], None], cpus: int | None) -> None:
        setup(cpus)

    def answer(self) -> None:
        """Tells that the process is there."""

    def size(self, make: Callable[..., Worker], *args: Any) -> int:
        self._worker = make(*args)
        return self._worker.size

    def work(self, items: list[Any]) -> list[Any]:
        return self._worker.work(items)


class _Run:
    """One stream of items through the actors."""

    def __init__(
        self, ray: Any, start: Callable[[], Any], given: tuple[Any, ...], actors: int, items: Iterable[Any]
    ) -> None:  # fmt: skip
        self._ray, self._given, self._plan = ray, given, Assignments(items)
        self._actors = dict(enumerate(start() for _ in range(actors)))
        self._asked_at = dict.fromkeys(self._actors, 0.0)  # of those that are to be asked for an answer, since they may be down
        self._sizes: dict[int, int] = {}  # of those that are up
        self._starts: Counter[int] = Counter()
        self._waiting: dict[Any, tuple[int, str, Call[Any] | None]] = {}  # by what is waited for: whose, what, and of which call

    def results(self, interruption: Interruption) -> Iterator[tuple[Any, Any]]:
        """As `Cluster.do`."""
        silent_since = time.monotonic()
        while not self._plan.finished:
            interruption.checkpoint()
            if interruption.signal is not None:
                self._plan.stop()
            self._ask()
            self._hand_out()
            if self._plan.finished:
                return
            for each in self._ready():
                if each in self._waiting:
                    yield from self._taken(each)
            if self._sizes:
                silent_since = time.monotonic()
            elif time.monotonic() - silent_since > _PATIENCE:
                silent_since = float("inf")
                print(
                    f"code-jax: no worker is up yet; {len(self._actors)} wait for a place in the cluster (--actors)",
                    file=sys.stderr,
                )

    def _ready(self) -> list[Any]:
        """What has come of what is waited for; nothing, if nothing comes in a moment."""
        if not self._waiting:
            time.sleep(_MOMENT)
            return []
        ready: list[Any] = self._ray.wait(list(self._waiting), timeout=_MOMENT)[0]
        return ready

    def end(self) -> None:
        """Ends the actors."""
        for actor in self._actors.values():
            self._ray.kill(actor)

    def _ask(self) -> None:
        now = time.monotonic()
        for number in [number for number, since in self._asked_at.items() if now - since > _PAUSE]:
            del self._asked_at[number]
            self._wait(number, "answer")

    def _hand_out(self) -> None:
        for number, size in self._sizes.items():
            while (call := self._plan.next(number, size)) is not None:
                self._wait(number, "work", call)

    def _wait(self, number: int, what: str, call: Call[Any] | None = None) -> None:
        method = getattr(self._actors[number], what)
        args = (call.items,) if call is not None else self._given if what == "size" else ()
        self._waiting[method.remote(*args)] = number, what, call

    def _taken(self, answer: Any) -> Iterator[tuple[Any, Any]]:
        number, what, call = self._waiting.pop(answer)
        try:
            value = self._ray.get(answer)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self._ray.exceptions.RayError:  # it, its node or what it answered is gone
            yield from ((item, None) for item in self._lose(number, what))
            return
        if call is not None:
            self._starts[number] = 0
            self._plan.done(number, call)
            yield from zip(call.items, value, strict=True)
        elif what == "size":
            self._sizes[number] = value
        else:
            self._wait(number, "size")

    def _lose(self, number: int, what: str) -> list[Any]:
        """Forgets all that a worker had, and asks it again in a while, for Ray starts another in its place."""
        self._waiting = {answer: of for answer, of in self._waiting.items() if of[0] != number}
        self._sizes.pop(number, None)
        self._starts[number] += what == "size"
        if self._starts[number] < _STARTS:
            self._asked_at[number] = time.monotonic()
        else:
            self._ray.kill(self._actors.pop(number))
        if not self._actors:
            raise UserError("every worker died as it started; what it said is in Ray's logs")
        return self._plan.lost(number)


def _unit(nodes: list[dict[str, float]], actors: int | None) -> tuple[dict[str, Any], int]:
    """An actor's options, and how many of them nodes of these resources hold.

    Where there are only CPUs, an actor has as many as let so many actors find a place, or all of the smallest node.

    Example:
        >>> _unit([{"CPU": 8, "GPU": 2}, {"CPU": 4}], None), _unit([{"CPU": 96, "TPU": 4}] * 2, None)
        (({'num_gpus': 1}, 2), ({'resources': {'TPU': 4}}, 2))
        >>> _unit([{"CPU": 2}], None), _unit([{"CPU": 4}, {"CPU": 64}], None), _unit([{"CPU": 4}, {"CPU": 64}], 4)
        (({'num_cpus': 2}, 1), ({'num_cpus': 4}, 17), ({'num_cpus': 16}, 4))
    """
    chips = [int(node["TPU"]) for node in nodes if node.get("TPU")]
    if chips:
        return {"resources": {"TPU": min(chips)}}, len(chips)
    graphics = sum(int(node.get("GPU", 0)) for node in nodes)
    if graphics:
        return {"num_gpus": 1}, graphics
    cores = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1] or [1]
    of_each = range(max(cores), 1, -1) if actors else [min(cores)]
    cpus = next((each for each in of_each if sum(own // each for own in cores) >= (actors or 1)), 1)
    return {"num_cpus": cpus}, sum(own // cpus for own in cores)


def _library(*, local: bool) -> Any:
    """Ray, told before it is imported what it must not do."""
    for name, value in _ENVIRONMENT.items():
        if local or "USAGE" in name:
            os.environ[name] = value
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise UserError("--engine ray needs Ray: pip install 'code-jax[ray]'") from None
    return ray
