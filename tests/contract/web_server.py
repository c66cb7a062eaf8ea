"""A web server as tests need it: files in memory, written with PUT, and all that real ones do differently."""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
import threading
from contextlib import suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_MODIFIED = 1_700_000_000.0


class Seen(NamedTuple):
    """A request as it came in; names of headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]


class WebServer:
    """Serves `files` by path. certs: a folder with public.crt and private.key, for TLS.

    tags: what kind of version it names; ranges, lengths, head: whether it knows them. head = the status with which it
    answers HEAD. cuts: after so many bytes the connections of the next answers to GET break. refusals: statuses of
    the next answers. moved: status and target by path. user, token: who may read and write, None = everybody.
    """

    def __init__(self, certs: Path | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self.seen: list[Seen] = []
        self.tags: str | None = "strong"
        self.ranges = True
        self.lengths = True
        self.head = 200
        self.cuts: list[int] = []
        self.refusals: list[int] = []
        self.moved: dict[str, tuple[int, str]] = {}
        self.user: tuple[str, str] | None = None
        self.token: str | None = None
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self.scheme = "http"
        if certs is not None:
            self.scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certs / "public.crt", certs / "private.key")
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self) -> WebServer:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), name="web-server", daemon=True).start()
        return self

    def __exit__(self, *about: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def methods(self) -> list[str]:
        """Return the methods of the requests so far."""
        return [each.method for each in self.seen]

    def is_allowed(self, authorization: str | None) -> bool:
        """Say whether this header is of somebody who may read and write."""
        if self.token is not None:
            return authorization == f"Bearer {self.token}"
        if self.user is not None:
            return authorization == "Basic " + base64.b64encode(":".join(self.user).encode()).decode()
        return True

    def version(self, content: bytes) -> dict[str, str]:
        """Return the headers that name the version of a file."""
        digest = hashlib.sha256(content).hexdigest()[:16]
        if self.tags == "date":
            return {"Last-Modified": formatdate(_MODIFIED + int(digest[:6], 16), usegmt=True)}
        return {"strong": {"ETag": f'"{digest}"'}, "weak": {"ETag": f'W/"{digest}"'}}.get(self.tags or "", {})


def _handler(server: WebServer) -> type[BaseHTTPRequestHandler]:
    return type("Handler", (_Handler,), {"server_state": server})


class _Handler(BaseHTTPRequestHandler):
    server_state: WebServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_any(self) -> None:
        server = self.server_state
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        own = {name.lower(): value for name, value in self.headers.items()}
        path = urlsplit(self.path).path
        with server.lock:
            server.seen.append(Seen(self.command, self.path, own))
            refusal = server.refusals.pop(0) if server.refusals else None
        if refusal is not None:
            self.answer(refusal)
        elif not server.is_allowed(own.get("authorization")):
            self.answer(401 if "authorization" not in own else 403)
        elif path in server.moved:
            self.answer(server.moved[path][0], {"Location": server.moved[path][1]})
        elif self.command == "PUT":
            self.keep(path, body)
        else:
            self.serve(server.files.get(path), own)

    def keep(self, path: str, body: bytes) -> None:
        with self.server_state.lock:
            status = 204 if path in self.server_state.files else 201
            self.server_state.files[path] = body
        self.answer(status)

    def serve(self, content: bytes | None, own: dict[str, str]) -> None:
        server = self.server_state
        if content is None:
            self.answer(404, body=b"no such file")
        elif self.command == "HEAD":
            self.answer(server.head, server.version(content), content if server.head == 200 else b"")
        else:
            self.serve_range(content, own)

    def serve_range(self, content: bytes, own: dict[str, str]) -> None:
        server, version = self.server_state, self.server_state.version(content)
        wanted = _RANGE.fullmatch(own.get("range", "")) if server.ranges else None
        if wanted is None or own.get("if-range") not in (None, *version.values()):
            self.answer(200, version, content)
            return
        first, last = int(wanted[1]), int(wanted[2] or len(content) - 1)
        if first >= len(content):
            self.answer(416, {"Content-Range": f"bytes */{len(content)}"})
            return
        part = content[first : last + 1]
        place = {"Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(content)}"}
        self.answer(206, {**version, **place}, part)

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        server = self.server_state
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if not server.lengths:
            self.send_header("Connection", "close")
            self.close_connection = True
        elif status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET" and server.cuts:
            body = body[: server.cuts.pop(0)]
            self.close_connection = True
        with suppress(ConnectionError):  # who asked has gone
            self.wfile.write(b"" if self.command == "HEAD" else body)

    do_GET = do_PUT = do_HEAD = handle_any  # noqa: N815

    def log_message(self, *arguments: Any) -> None:
        """Nobody reads it."""
