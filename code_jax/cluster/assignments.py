"""Who does what of a stream of work, when those who do it may die; it knows no Ray, and no clock."""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

Item = TypeVar("Item")

SLOTS = 3  # calls that a worker has at a time: one computes while another is read, and another written
TRIES = 3


@dataclasses.dataclass(eq=False)
class Call(Generic[Item]):
    """Items that a worker gets at once, and how many workers died with them."""

    items: list[Item]
    deaths: int = 0


class Assignments(Generic[Item]):
    """Hands a stream's items out in calls, a bounded number at a time, each item until it is done or too many died with it.

    What a worker had when it died is suspect: it is tried again alone on a worker, first call by call, then item by item, so that
    what kills is found, and what was only near it is done. That waits until a worker has nothing else; the others go on.

    Args:
        items: taken as they are handed out.
        slots: calls that a worker has at a time.
        tries: deaths after which an item is given up.

    Example:
        >>> plan = Assignments("abc")
        >>> first = plan.next(0, 2)
        >>> first.items, plan.next(1, 2).items
        (['a', 'b'], ['c'])
        >>> plan.done(1, plan.held(1)[0])
        >>> plan.lost(0), plan.next(1, 2) is first, plan.next(1, 2)
        ([], True, None)
    """

    def __init__(self, items: Iterable[Item], slots: int = SLOTS, tries: int = TRIES) -> None:
        self._items, self._slots, self._tries = iter(items), slots, tries
        self._suspects: deque[Call[Item]] = deque()
        self._held: dict[int, list[Call[Item]]] = {}
        self._exhausted = False

    def next(self, worker: int, size: int) -> Call[Item] | None:
        """What a worker gets next: a call of up to so many items, or None as long as there is nothing for it."""
        held = self._held.setdefault(worker, [])
        if any(call.deaths for call in held) or len(held) >= self._slots:
            return None
        call = self._suspects.popleft() if self._suspects and not held else self._fresh(size)
        if call is not None:
            held.append(call)
        return call

    def held(self, worker: int) -> list[Call[Item]]:
        """The calls that a worker has."""
        return list(self._held.get(worker, ()))

    def done(self, worker: int, call: Call[Item]) -> None:
        """A worker has done a call."""
        self._held[worker].remove(call)

    def lost(self, worker: int) -> list[Item]:
        """A worker has died; the items that are given up for it."""
        given_up: list[Item] = []
        for call in self._held.pop(worker, ()):
            deaths = call.deaths + 1
            if deaths >= self._tries:
                given_up += call.items
            elif deaths == self._tries - 1:
                self._suspects.extend(Call([item], deaths) for item in call.items)
            else:
                call.deaths = deaths
                self._suspects.append(call)
        return given_up

    def stop(self) -> None:
        """Nothing more is handed out."""
        self._exhausted = True
        self._suspects.clear()

    @property
    def finished(self) -> bool:
        """Whether all that there was is done or given up."""
        return self._exhausted and not self._suspects and not any(self._held.values())

    def _fresh(self, size: int) -> Call[Item] | None:
        items = [] if self._exhausted else list(itertools.islice(self._items, size))
        self._exhausted = self._exhausted or len(items) < size
        return Call(items) if items else None
