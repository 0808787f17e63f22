"""The web server of the page: static files, the options, and a stream of events for each order.

Every answer forbids the browser any address but this one (Content-Security-Policy), and requests that were meant for another host
are refused, so that no other web page can use this server.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import code_jax
from code_jax.demo.events import Event, data_url, restore_events, sweep_events
from code_jax.demo.request import Offer, Order, read_order
from code_jax.editing.config import METHODS, PRESETS
from code_jax.errors import UserError
from code_jax.priors.hash import prior_hash
from code_jax.priors.load import bundled_samples
from code_jax.priors.prior import Prior

_PAGE = Path(__file__).parent / "page"
_LARGEST = 64 * 2**20  # bytes of a request
_POLICY = "default-src 'self'; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_log = logging.getLogger(__name__)


def application(priors: Mapping[str, Prior], precision: str, hosts: list[str]) -> Starlette:
    """The page for these priors; `hosts` are the names by which it may be asked for ("*" is any)."""
    offers = {name: Offer(name, prior, prior_hash(prior), precision) for name, prior in priors.items()}

    def options(request: Request) -> Response:
        return JSONResponse(
            {
                "version": code_jax.__version__,
                "device": jax.devices()[0].device_kind,
                "priors": {name: list(offer.prior.image_shape) for name, offer in offers.items()},
                "presets": {name: chosen._asdict() for name, chosen in PRESETS.items()},
                "methods": METHODS,
                "samples": [path.name for path in bundled_samples()],
                "corruptions": _corruptions(),
            }
        )

    async def picture(request: Request) -> Response:
        return await _stream(request, offers, lambda order, form: iter([{"event": "input", "picture": data_url(order.pixels)}]))

    async def restore(request: Request) -> Response:
        return await _stream(request, offers, lambda order, form: restore_events(order))

    async def sweep(request: Request) -> Response:
        def events(order: Order, form: Mapping[str, Any]) -> Iterator[Event]:
            return sweep_events(order, _numbers(form, "depths"), _numbers(form, "relative-steps"))

        return await _stream(request, offers, events)

    routes = [
        Route("/options", options),
        Route("/picture", picture, methods=["POST"]),
        Route("/restore", restore, methods=["POST"]),
        Route("/sweep", sweep, methods=["POST"]),
        Mount("/samples", StaticFiles(directory=bundled_samples()[0].parent)),
        Mount("/", StaticFiles(directory=_PAGE, html=True)),
    ]
    return Starlette(routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts), Middleware(_Confined)])


def serve(priors: Mapping[str, Prior], precision: str, host: str, port: int) -> int:
    """Serves until interrupted; prints the address when it can be opened."""
    local = host in ("127.0.0.1", "localhost")
    config = uvicorn.Config(
        application(priors, precision, ["127.0.0.1", "localhost"] if local else ["*"]),
        host=host, port=port, log_level="warning", timeout_graceful_shutdown=2, server_header=False,
    )  # fmt: skip
    try:
        socket = config.bind_socket()
        socket.listen(config.backlog)
    except SystemExit:
        raise UserError(f"cannot listen at {host}:{port}: it is taken, or not this machine's; try --port 0") from None
    if not local:
        print(f"code-jax: warning: everyone who can reach {host} can use this page", file=sys.stderr)
    print(f"the demo is at http://{host}:{socket.getsockname()[1]}/ (Ctrl-C ends it)", flush=True)
    uvicorn.Server(config).run(sockets=[socket])
    return 0


class _Confined:
    """Adds the headers that keep a page's requests to its own address."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def confined(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = {"content-security-policy": _POLICY, "referrer-policy": "no-referrer", "cache-control": "no-store"}
                message["headers"] += [(name.encode(), value.encode()) for name, value in headers.items()]
            await send(message)

        await self._app(scope, receive, confined)


async def _stream(
    request: Request, offers: Mapping[str, Offer], events: Callable[[Order, Mapping[str, Any]], Iterator[Event]]
) -> Response:
    """Answers with a line of JSON an event; a user's mistake is the event ``error``."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST:
            return JSONResponse({"event": "error", "message": f"the picture is larger than {_LARGEST >> 20} MB"}, 413)

    def lines() -> Iterator[str]:
        try:
            form = _form(body)
            for event in events(read_order(form, offers), form):
                yield json.dumps(event) + "\n"
        except UserError as error:
            yield json.dumps({"event": "error", "message": str(error)}) + "\n"
        except Exception as error:
            _log.exception("an order failed")
            message = f"{type(error).__name__} in code_jax: the terminal where code-jax demo runs says more"
            yield json.dumps({"event": "error", "message": message}) + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


def _form(body: bytes) -> dict[str, Any]:
    try:
        form = json.loads(body)
    except ValueError:
        form = None
    if not isinstance(form, dict):
        raise UserError("the request is no form: a JSON object is wanted")
    return form


def _numbers(form: Mapping[str, Any], name: str) -> list[float]:
    try:
        return [float(part) for part in str(form.get(name, "")).replace(",", " ").split()]
    except ValueError:
        raise UserError(f"{name} is {form[name]!r}; give numbers such as 0.2 0.4 0.6") from None


def _corruptions() -> list[str]:
    """Names of the corruptions that a page may offer."""
    from code_jax.corruptions import NAMES

    return list(NAMES)
