"""A stand-in of Google Cloud Storage's XML interface on loopback: create preconditions, pages, and faults on demand.

python -m tests.storage.emulator      serves until it is stopped, and prints what STORAGE_EMULATOR_HOST is to be
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock
from xml.sax.saxutils import escape

Fault = Callable[[str, str], str | None]
"""What is wrong with a request of a method for a key, or for a page after it: None, a status ("503"), "lost" (it is done, and not
answered), or "silent"."""


class Emulator:
    """Buckets in memory.

    Attributes:
        objects: bytes by "bucket/key".
        requests: how many there were, by method; "LIST" is one.
        bytes_in, bytes_out: of objects.
        fault: what goes wrong.
        page: objects of a page.
        silence: seconds that a silent request is left without an answer.
    """

    def __init__(self, page: int = 1000) -> None:
        self.objects: dict[str, bytes] = {}
        self.requests: Counter[str] = Counter()
        self.bytes_in = self.bytes_out = 0
        self.fault: Fault = lambda method, key: None
        self.page, self.silence = page, 30.0
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"emulator": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def below(self, prefix: str) -> dict[str, bytes]:
        """The objects below "bucket/key", by what follows."""
        return {key.removeprefix(f"{prefix}/"): data for key, data in self.objects.items() if key.startswith(f"{prefix}/")}


@contextlib.contextmanager
def emulator(page: int = 1000) -> Iterator[Emulator]:
    """A running stand-in, which this process and those it starts take for Google's."""
    served = Emulator(page)
    thread = threading.Thread(target=served.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        with mock.patch.dict(os.environ, {"STORAGE_EMULATOR_HOST": served.url}):
            yield served
    finally:
        served.server.shutdown()
        served.server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm, wbufsize = True, -1  # an answer is one packet, which nobody's acknowledgement is waited for
    emulator: Emulator

    def _answer(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path, _, query = self.path.partition("?")
        key = urllib.parse.unquote(path).strip("/")
        method = "LIST" if self.command == "GET" and "list-type" in query else self.command
        served = self.emulator
        with served.lock:
            served.requests[method] += 1
        asked = urllib.parse.parse_qs(query)
        after = asked.get("continuation-token", [""])[0]
        fault = served.fault(method, f"{key}/{after or asked.get('prefix', [''])[0]}" if method == "LIST" else key)
        if fault == "silent":
            time.sleep(served.silence)
        if fault is not None and fault.isdigit():
            self._send(int(fault), b"<Error><Message>secret of the storage</Message></Error>")
            return
        with served.lock:
            status, body, headers = self._done(method, key, asked, data)
        if fault is None:
            self._send(status, body, headers)
        else:  # it is done, and nobody hears of it
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_HEAD = do_PUT = do_DELETE = _answer

    def _done(self, method, key, query, data):
        served = self.emulator
        there = served.objects.get(key)
        if method == "LIST":
            return 200, self._page(key, query), {}
        if method == "PUT":
            if self.headers.get("x-goog-if-generation-match") == "0" and there is not None:
                return 412, b"<Error><Code>PreconditionFailed</Code></Error>", {}
            served.objects[key] = data
            served.bytes_in += len(data)
            return 200, b"", {"ETag": _etag(data)}
        if there is None:
            return 404, b"<Error><Code>NoSuchKey</Code></Error>", {}
        if method == "DELETE":
            del served.objects[key]
            return 204, b"", {}
        served.bytes_out += len(there) * (method == "GET")
        return 200, there, {"ETag": _etag(there), "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}

    def _page(self, bucket: str, query: dict[str, list[str]]) -> bytes:
        prefix, after = query.get("prefix", [""])[0], query.get("continuation-token", [""])[0]
        whole = f"{bucket}/{prefix}"
        keys = sorted((key.removeprefix(f"{bucket}/") for key in self.emulator.objects if key.startswith(whole)), key=str.encode)
        rest = [key for key in keys if key.encode() > after.encode()]
        page, more = rest[: self.emulator.page], len(rest) > self.emulator.page
        told = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size><ETag>{escape(_etag(data))}</ETag>"
            "<LastModified>2015-10-21T07:28:00.000Z</LastModified></Contents>"
            for key in page
            for data in [self.emulator.objects[f"{bucket}/{key}"]]
        )
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        return f'<?xml version="1.0"?><ListBucketResult>{told}{token}</ListBucketResult>'.encode()

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        with contextlib.suppress(OSError):  # who asked may have gone
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


if __name__ == "__main__":
    with emulator() as serving:
        print(serving.url, flush=True)
        threading.Event().wait()
