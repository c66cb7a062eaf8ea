"""A server in front of fake-gcs-server: it notes requests, loses answers, and keeps uploads as Google does."""

from __future__ import annotations

import http.client
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

_SPAN = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_PASSED_ON = ("range", "content-type", "accept-encoding")


class Request(NamedTuple):
    """One request as it came, header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    size: int

    @property
    def is_part(self) -> bool:
        """Say whether it is a part of an upload."""
        return self.method == "PUT" and "upload_id=" in self.path


class _Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    content: bytes


class GcsFront:
    """Cloud Storage, as far as fake-gcs-server on `target_port` has it, and what that does otherwise than Google.

    Bytes of an upload that come again are ignored; an upload that has ended says so again. The next answers to parts
    are lost (`lost_answers`: so many), or follow on only so many bytes of the part (`keeps`: one number each); the next
    requests of any kind are answered with `refusals` (statuses). Downloads break off after `breaks` bytes (one number
    each); with `damage` they arrive with one byte changed.
    """

    def __init__(self, target_port: int) -> None:
        self.requests: list[Request] = []
        self.refusals: list[int] = []
        self.keeps: list[int] = []
        self.breaks: list[int] = []
        self.lost_answers = 0
        self.damage = False
        self._target_port = target_port
        self._received: dict[str, int] = {}
        self._ended: dict[str, _Answer] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    def __enter__(self) -> GcsFront:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), name="gcs-front", daemon=True).start()
        return self

    def __exit__(self, *about: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, request: Request, body: bytes) -> _Answer | None:
        """Return the answer, None = it is lost."""
        self.requests.append(request)
        if self.refusals:
            status = self.refusals.pop(0)
            content = json.dumps({"error": {"code": status, "message": "Words of the server."}}).encode()
            return _Answer(status, {"content-type": "application/json"}, content)
        if not request.is_part:
            return self._damaged(request, self._forwarded(request, body))
        answer = self._take_part(request, body)
        if self.lost_answers:
            self.lost_answers -= 1
            return None
        return answer

    def _take_part(self, request: Request, body: bytes) -> _Answer:
        upload = parse_qs(urlsplit(request.path).query)["upload_id"][0]
        if upload in self._ended:
            return self._ended[upload]
        match = _SPAN.fullmatch(request.headers["content-range"])
        assert match is not None, request.headers["content-range"]
        have, total = self._received.get(upload, 0), match[3]
        first = int(match[1] or have)
        assert first <= have, "a part with a gap before it"
        new = body[have - first :]
        if self.keeps:
            new, total = new[: self.keeps.pop(0)], "*"
        if new or total != "*":
            span = f"{have}-{have + len(new) - 1}" if new else "*"
            answer = self._forwarded(request, new, {"content-range": f"bytes {span}/{total}"})
            if answer.status == 200:
                self._ended[upload] = answer
                return answer
        self._received[upload] = have + len(new)
        kept = self._received[upload]
        return _Answer(308, {"range": f"bytes=0-{kept - 1}"} if kept else {}, b"")

    def _damaged(self, request: Request, answer: _Answer) -> _Answer:
        if not self.damage or "alt=media" not in request.path or not answer.content:
            return answer
        return answer._replace(content=bytes([answer.content[0] ^ 1]) + answer.content[1:])

    def breaking(self, request: Request, content: bytes) -> bytes:
        """Return what of the content of an answer arrives."""
        return content[: self.breaks.pop(0)] if self.breaks and "alt=media" in request.path else content

    def _forwarded(self, request: Request, body: bytes, more: dict[str, str] | None = None) -> _Answer:
        headers = {name: value for name, value in request.headers.items() if name in _PASSED_ON}
        # The server makes the address of an upload of it.
        headers["host"] = request.headers["host"]
        connection = http.client.HTTPConnection("127.0.0.1", self._target_port, timeout=30)
        try:
            connection.request(request.method, request.path, body or None, {**headers, **(more or {})})
            found = connection.getresponse()
            names = {name.lower(): value for name, value in found.getheaders()}
            return _Answer(found.status, names, found.read())
        finally:
            connection.close()


def _handler(front: GcsFront) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, len(body))
            answer = front.answer(request, body)
            if answer is None:
                self.close_connection = True
                return
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                if name not in ("content-length", "transfer-encoding", "connection", "keep-alive"):
                    self.send_header(name, value)
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            arriving = front.breaking(request, answer.content)
            self.close_connection = self.close_connection or len(arriving) < len(answer.content)
            self.wfile.write(arriving)

        do_GET = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *arguments: Any) -> None:
            """Nobody reads it."""

    return Handler
