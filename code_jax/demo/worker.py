"""The process that computes: it gives the orders that it has a segment each in turn, and ends when the server does."""

from __future__ import annotations

import logging
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

from code_jax.errors import UserError

Event = dict[str, Any]

_TURNS = 3  # orders that are computed side by side: each has a state in memory; others wait
_BRIEF = ("picture", "cost")  # orders that nobody is to wait for
_log = logging.getLogger(__name__)


def work(connection: Connection, names: Sequence[str], precision: str, prepare: Callable[[], None]) -> None:
    """Sends (None, options) when ready; then (number, event) for every event of an order, and (number, None) at its end.

    Args:
        connection: takes (number, kind, form), where kind is one of `code_jax.demo.events.KINDS`, or "stop".
        names, precision, prepare: as in `code_jax.demo.foreman.Foreman`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server's to answer: it ends this process
    try:
        prepare()
        from code_jax.demo.offers import load_offers, options_of

        offers = load_offers(names, precision)
        connection.send((None, {"event": "ready", "options": options_of(offers)}))
    except Exception as error:  # whatever it is, the server cannot begin: no prior, no device, no memory
        connection.send((None, {"event": "error", "message": str(error).partition("\n")[0] or type(error).__name__}))
        return
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(connection, inbox), daemon=True).start()
    waiting: dict[int, tuple[str, Mapping[str, Any]]] = {}
    turns: dict[int, Iterator[Event | None]] = {}
    while True:
        while not inbox.empty() or not (turns or waiting):
            number, kind, form = inbox.get()
            if kind == "stop":
                waiting.pop(number, None)
                turns.pop(number, None)  # and with it its state
                connection.send((number, None))
            elif kind in _BRIEF:
                turns[number] = _told(offers, kind, form)
            else:
                waiting[number] = kind, form
        for number in list(waiting)[: max(_TURNS - len(turns), 0)]:
            turns[number] = _told(offers, *waiting.pop(number))
        for number, events in list(turns.items()):
            try:
                event = next(events)
            except StopIteration:
                del turns[number]
                connection.send((number, None))
            else:
                if event is not None:
                    connection.send((number, event))


def _told(offers: Mapping[str, Any], kind: str, form: Mapping[str, Any]) -> Iterator[Event | None]:
    """The events of an order, None where it has had its turn without news; a mistake in it is the event ``error``."""
    from code_jax.demo.events import KINDS

    try:
        yield from KINDS[kind](form, offers)
    except UserError as error:
        yield {"event": "error", "message": str(error)}
    except Exception as error:
        _log.exception("an order failed")
        yield {
            "event": "error",
            "message": f"{type(error).__name__} in code_jax: the terminal where code-jax demo runs says more",
        }


def _read(connection: Connection, inbox: queue.SimpleQueue[Any]) -> None:
    """Takes what comes as it comes, so that the server never waits for a segment to end; ends the process with the server."""
    try:
        while True:
            inbox.put(connection.recv())
    except (EOFError, OSError):
        signal.raise_signal(signal.SIGTERM)
