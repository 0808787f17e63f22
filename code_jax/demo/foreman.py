"""The server's side of the process that computes: hands orders over, brings events back, and replaces a worker that hangs.

XLA cannot be interrupted within a program, nor while it compiles one. So what computes is a process of its own: an order that is
cancelled and does not give way within `_PATIENCE` seconds ends with it, and the orders beside it begin anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import multiprocessing
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from code_jax.demo.worker import Event, work
from code_jax.errors import UserError

_PATIENCE = 1.5  # seconds
_MOST_ORDERS = 32
_GONE = "what computes ended unexpectedly, perhaps for want of memory; it was started anew: try again, or a smaller picture"


class _Waiting(NamedTuple):
    kind: str
    form: Mapping[str, Any]
    events: asyncio.Queue[Event | None]


class Foreman:
    """One worker at a time, and the orders that it has.

    Args:
        names: of the priors that are offered.
        precision: inside the networks.
        prepare: called in the worker before anything is compiled; a function of a module.

    Raises:
        UserError: if a prior cannot be had.
    """

    def __init__(self, names: Sequence[str], precision: str, prepare: Callable[[], None]) -> None:
        self._arguments = names, precision, prepare
        self._failure: str | None = None  # why there is no worker, where a new one could not begin
        self._orders: dict[int, _Waiting] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()  # of writing to the worker
        self._loop: asyncio.AbstractEventLoop | None = None
        self._start()
        try:
            _, first = self._connection.recv()
        except EOFError:
            raise UserError("what computes ended before it began, perhaps for want of memory") from None
        if first["event"] == "error":
            raise UserError(first["message"])
        self.options: dict[str, Any] = first["options"]
        self._ready = True
        self._listen()

    async def events(self, kind: str, form: Mapping[str, Any]) -> AsyncIterator[Event]:
        """An order's events; closing the iterator cancels the order."""
        self._loop = asyncio.get_running_loop()
        if len(self._orders) >= _MOST_ORDERS:
            yield {"event": "error", "message": f"{_MOST_ORDERS} orders are waiting already; try again later"}
            return
        if self._failure is not None:
            self._failure = None
            self._start()
            self._listen()
        number, order = next(self._numbers), _Waiting(kind, form, asyncio.Queue())
        self._orders[number] = order
        try:
            await asyncio.to_thread(self._send, (number, kind, form))
            while (event := await order.events.get()) is not None:
                yield event
        finally:
            if self._orders.pop(number, None) is not None:
                self._loop.create_task(self._cancel(number))

    def close(self) -> None:
        """Ends the worker."""
        self._process.kill()
        self._process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would take the server's threads' locks along
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(theirs, *self._arguments), daemon=True)
        self._process.start()
        theirs.close()
        self._ready = False
        self._stopped: set[int] = set()

    def _listen(self) -> None:
        threading.Thread(target=self._read, args=(self._connection, self._process), daemon=True).start()

    def _read(self, connection: Any, process: Any) -> None:
        """Brings one worker's events to their orders, until it ends."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._soon(self._take, *connection.recv())
        process.join()
        self._soon(self._replace, process)

    def _soon(self, call: Callable[..., None], *arguments: Any) -> None:
        """Calls in the server's thread, which alone knows of orders."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *arguments)

    def _take(self, number: int | None, event: Event | None) -> None:
        if number is None:  # of the worker itself
            self._ready = event is not None and event["event"] == "ready"
            self._failure = None if self._ready or event is None else event["message"]
            return
        if event is None:
            self._stopped.discard(number)
        order = self._orders.get(number)
        if order is not None:
            order.events.put_nowait(event)
            if event is None:
                del self._orders[number]

    async def _cancel(self, number: int) -> None:
        process = self._process
        self._stopped.add(number)
        await asyncio.to_thread(self._send, (number, "stop", {}))
        await asyncio.sleep(_PATIENCE)
        if self._ready and number in self._stopped and process is self._process:  # one that begins has it not begun
            process.kill()

    def _replace(self, process: Any) -> None:
        """A new worker for one that ended: after a cancelled order the others begin anew, else they have failed."""
        if process is not self._process:
            return
        innocent = bool(self._stopped)
        if self._failure is None:
            self._start()
            self._listen()
        for number, order in list(self._orders.items()):
            if innocent and self._failure is None:
                order.events.put_nowait({"event": "again"})
                threading.Thread(target=self._send, args=((number, order.kind, order.form),), daemon=True).start()
            else:
                order.events.put_nowait({"event": "error", "message": self._failure or _GONE})
                self._take(number, None)

    def _send(self, message: Any) -> None:
        with self._lock, contextlib.suppress(OSError):  # of a worker that has just ended: its orders are sent again, or failed
            self._connection.send(message)
