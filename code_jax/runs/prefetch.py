"""Work in threads, ahead of who takes it and in order, with a bound on how far ahead."""

from __future__ import annotations

import collections
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def prefetch(pool: Executor, make: Callable[[Item], Made], items: Iterable[Item], ahead: int) -> Generator[Made, None, None]:
    """``map(make, items)``, with up to `ahead` of them made or being made before they are asked for.

    Example:
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> with ThreadPoolExecutor(2) as pool:
        ...     list(prefetch(pool, abs, [-1, -2, -3], ahead=2))
        [1, 2, 3]
    """
    waiting: collections.deque[Future[Made]] = collections.deque()
    remaining = iter(items)
    try:
        while True:
            for item in remaining:
                waiting.append(pool.submit(make, item))
                if len(waiting) >= ahead:
                    break
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
