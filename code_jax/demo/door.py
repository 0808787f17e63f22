"""Who is let in: the page's own requests to this machine's own address; over a network, those that carry a token.

Another web page can make a browser send requests here, and a name that it controls can be made to mean this machine (DNS
rebinding): both show in the headers Host, Origin and Sec-Fetch-Site, which no script can set.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse, RedirectResponse

from code_jax.errors import UserError

LOOPBACK = frozenset(["127.0.0.1", "::1", "localhost"])
_POLICY = "default-src 'self'; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HEADERS = {
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Place(NamedTuple):
    """A host's name, in lower case and without brackets, and its port where one is given."""

    name: str
    port: int | None


def place_of(authority: str) -> Place | None:
    """The place that a Host header or an origin's authority names; None where it names none.

    Example:
        >>> place_of("[::1]:7860"), place_of("LocalHost"), place_of("user@localhost"), place_of("localhost:port")
        (Place(name='::1', port=7860), Place(name='localhost', port=None), None, None)
    """
    try:
        parts = urlsplit(f"//{authority}")
        if parts.hostname and parts.netloc == authority and parts.username is None:
            return Place(parts.hostname, parts.port)
    except ValueError:
        pass
    return None


def named_host(name: str) -> str:
    """The name of a host that a user wants to let in.

    Raises:
        UserError: if it is none: a pattern, an address with a path.
    """
    place = place_of(name.partition("://")[2].rstrip("/") or name)
    if place is None or set(place.name) & set("*/?# "):
        raise UserError(f"--allow-host is {name!r}; give the name of one host, such as demo.example.org")
    return place.name


def new_token() -> str:
    """128 random bits for an address."""
    return secrets.token_urlsafe(16)


class Door:
    """ASGI middleware: answers 403 to whom is not let in, and confines the page to its own address.

    Args:
        app: what is behind it.
        name: where it listens, beside loopback's names and the address that a request came in at.
        proxies: further names that the page may be asked for by; a proxy has a port of its own.
        token: the first part of every path; None where loopback alone is listened at.
    """

    def __init__(self, app: Any, name: str = "localhost", proxies: Iterable[str] = (), token: str | None = None) -> None:
        self._app, self._name, self._proxies, self._token = app, name.lower(), frozenset(proxies), token

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def confined(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
            await send(message)

        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        reason = self._stranger(scope)
        if reason is None and self._token is not None:
            first, slash, rest = scope["path"].removeprefix("/").partition("/")
            if not secrets.compare_digest(first.encode(), self._token.encode()):
                reason = "the address lacks its token: open the one that code-jax demo printed"
            elif not slash:
                return await RedirectResponse(f"{self._token}/")(scope, receive, confined)
            else:
                scope = scope | {"path": f"/{rest}", "raw_path": f"/{rest}".encode()}
        if reason is not None:
            return await PlainTextResponse(f"code-jax demo: {reason}\n", 403)(scope, receive, confined)
        await self._app(scope, receive, confined)

    def _stranger(self, scope: Any) -> str | None:
        """Why a request is refused; None where it is of the page itself, or of a program that is no browser."""
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        own = LOOPBACK | {self._name, scope["server"][0]}
        given = headers.get("host", [])
        host = place_of(given[0]) if len(given) == 1 else None
        if host is None or host.name not in own | self._proxies:
            return f"it is not known by the name {', '.join(given)!r}: --allow-host NAME lets one in"
        for origin in headers.get("origin", []):
            scheme, _, authority = origin.partition("://")
            place = place_of(authority)
            # Another port of this machine is another program's.
            ours = place is not None and place.name in own and place.port in (host.port, scope["server"][1])
            proxied = place is not None and place.name in self._proxies
            if scheme not in ("http", "https") or not (ours or proxied):
                return f"a page of {origin!r} has no business here"
        site, mode = (headers.get(f"sec-fetch-{what}", [""])[0] for what in ("site", "mode"))
        followed_a_link = mode == "navigate" and scope["method"] in ("GET", "HEAD")
        if site in ("cross-site", "same-site") and not followed_a_link and not headers.get("origin"):
            return "a page of another address has no business here"
        return None
