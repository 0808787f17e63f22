"""The web server of the page: static files, what may be chosen, and a stream of events for each order."""

from __future__ import annotations

import json
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from code_jax.demo.door import LOOPBACK, Door, named_host, new_token
from code_jax.demo.foreman import Foreman
from code_jax.documents import parse
from code_jax.errors import UserError
from code_jax.priors.load import bundled_samples

_PAGE = Path(__file__).parent / "page"
_LARGEST = 64 * 2**20  # bytes of a request
_MOST_CONNECTIONS = 32
_KINDS = ("picture", "cost", "restore", "sweep")


def application(foreman: Foreman, name: str, proxies: Sequence[str] = (), token: str | None = None) -> Starlette:
    """The page, for whom `Door` lets in."""
    start = secrets.token_hex(8)  # a page sees by it that the server was started anew

    def options(request: Request) -> Response:
        return JSONResponse(foreman.options | {"start": start})

    def order(kind: str) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            return await _stream(request, foreman, kind)

        return answer

    routes = [
        Route("/options", options),
        *(Route(f"/{kind}", order(kind), methods=["POST"]) for kind in _KINDS),
        Mount("/samples", StaticFiles(directory=bundled_samples()[0].parent)),
        Mount("/", StaticFiles(directory=_PAGE, html=True)),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Door, name=name, proxies=proxies, token=token)])


def serve(names: Sequence[str], precision: str, host: str, port: int, allowed: Sequence[str], prepare: Callable[[], None]) -> int:
    """Serves until interrupted, status 130; prints the address when it can be opened.

    Args:
        names: of the priors that are offered.
        precision: inside the networks.
        host, port: where to listen.
        allowed: names of hosts by which the page may be asked for, as of a proxy.
        prepare: called in the process that computes, before anything is compiled.

    Raises:
        UserError: if a prior, the address or a name cannot be used.
    """
    hosts = [named_host(name) for name in allowed]
    local = host in LOOPBACK and not hosts
    token = None if local else new_token()
    listening = _listen(host, port)
    foreman = Foreman(names, precision, prepare)
    config = uvicorn.Config(
        application(foreman, host, hosts, token), log_level="warning", timeout_graceful_shutdown=1, server_header=False,
        proxy_headers=False, ws="none", limit_concurrency=_MOST_CONNECTIONS,
    )  # fmt: skip
    address = f"{_reachable(host)}:{listening.getsockname()[1]}"
    print(f"the demo is at http://{address}/{f'{token}/' if token else ''} (Ctrl-C ends it)", flush=True)
    for name in hosts:
        print(f"by the name {name}: the same path, /{token}/", flush=True)
    if not local:
        print("whoever has this address can use the page; nobody else can", flush=True)
    server = uvicorn.Server(config)
    try:
        server.run(sockets=[listening])
    finally:
        foreman.close()
    return 128 + signal.SIGINT if server.should_exit else 0  # a signal that came while it was ending is not raised again


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError:
        raise UserError(f"cannot listen at {host}:{port}: it is taken, or not this machine's; try --port 0") from None


def _reachable(host: str) -> str:
    """An address by which others reach what listens at `host`, as a URL has it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        if host == "0.0.0.0":
            try:
                probe.connect(("192.0.2.1", 9))  # sends nothing: it asks which of this machine's addresses would be used
                host = probe.getsockname()[0]
            except OSError:
                host = "127.0.0.1"
    return f"[{host}]" if ":" in host else host


async def _stream(request: Request, foreman: Foreman, kind: str) -> Response:
    """Answers with a line of JSON an event, ``end`` the last of a whole answer; a user's mistake is the event ``error``."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST:
            return JSONResponse({"event": "error", "message": f"the picture is larger than {_LARGEST >> 20} MB"}, 413)

    async def lines() -> AsyncIterator[str]:
        try:
            form = _form(body)
        except UserError as error:
            yield json.dumps({"event": "error", "message": str(error)}) + "\n"
            return
        async for event in foreman.events(kind, form):
            yield json.dumps(event) + "\n"
        yield '{"event": "end"}\n'

    return StreamingResponse(lines(), media_type="application/x-ndjson")


def _form(body: bytearray) -> dict[str, Any]:
    try:
        form = parse(bytes(body))
    except (ValueError, RecursionError):
        form = None
    if not isinstance(form, dict):
        raise UserError("the request is no form: a JSON object is wanted")
    return form
