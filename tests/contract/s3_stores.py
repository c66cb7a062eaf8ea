"""S3 stores as tests need them: one in front of MinIO whose objects age at will, and that may ignore conditions."""

from __future__ import annotations

import http.client
import json
import re
import threading
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.servers import Minio

_LISTED = re.compile(r"<Key>([^<]+)</Key><LastModified>([^<]+)</LastModified>")
_PASSED_ON = ("range", "if-match", "if-none-match", "x-amz-copy-source", "x-amz-content-sha256", "content-type")


def public(minio: Minio, bucket: str) -> None:
    """Let everybody do everything in the bucket: what stands in front of the server need not sign anew."""
    rule = {
        "Effect": "Allow",
        "Principal": {"AWS": ["*"]},
        "Action": ["s3:*"],
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
    }
    body = json.dumps({"Version": "2012-10-17", "Statement": [rule]}).encode()
    minio.client().call("PUT", bucket, body=body, query={"policy": ""})


class AgingStore:
    """An S3 server that hands requests on, without their signatures, to the one on `target_port`.

    ignores_conditions: write also where If-None-Match forbids it, as some S3 servers do. The next so many answers to
    PUT are lost (`lost_answers`), or are the refusal (`refusals`: status and code) of a server that does nothing.
    page_size: entries in one answer to LIST.
    """

    def __init__(self, target_port: int, *, ignores_conditions: bool = False) -> None:
        self.ignores_conditions = ignores_conditions
        self.is_away = False
        self.lost_answers = 0
        self.refusals: list[tuple[int, str]] = []
        self.page_size: int | None = None
        self._target_port = target_port
        self._lock = threading.Lock()
        self._passed = 0.0
        self._written_at: dict[str, float] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    def __enter__(self) -> AgingStore:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), name="aging-store", daemon=True).start()
        return self

    def __exit__(self, *about: object) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Be away for good, on open connections as well."""
        self.is_away = True
        self._server.shutdown()
        self._server.server_close()

    def advance(self, seconds: float) -> None:
        """Make everything that is stored older by so much."""
        with self._lock:
            self._passed += seconds

    def forward(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of the answer."""
        if method == "PUT" and self.refusals:
            status, code = self.refusals.pop(0)
            return status, {"content-type": "application/xml"}, f"<Error><Code>{code}</Code></Error>".encode()
        if self.page_size is not None and "list-type=2" in path:
            path += f"&max-keys={self.page_size}"
        connection = http.client.HTTPConnection("127.0.0.1", self._target_port, timeout=30)
        try:
            connection.request(method, path, body, self._passed_on(headers))
            answer = connection.getresponse()
            content, found = answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()
        key = unquote(urlsplit(path).path).removeprefix("/")
        if method == "PUT" and answer.status == 200:
            with self._lock:
                self._written_at[key] = self._passed
        if "last-modified" in found:
            found["last-modified"] = format_datetime(self._aged(key, parsedate_to_datetime(found["last-modified"])))
        if b"<ListBucketResult" in content:
            content = self._aged_listing(key, content.decode()).encode()
        return answer.status, found, content

    def _passed_on(self, headers: dict[str, str]) -> dict[str, str]:
        ignored = "if-none-match" if self.ignores_conditions else ""
        return {name: headers[name] for name in _PASSED_ON if name in headers and name != ignored}

    def _aged(self, key: str, modified: datetime) -> datetime:
        with self._lock:
            return modified - timedelta(seconds=self._passed - self._written_at.get(key, 0.0))

    def _aged_listing(self, bucket: str, text: str) -> str:
        def aged(found: re.Match[str]) -> str:
            modified = datetime.fromisoformat(found[2].replace("Z", "+00:00")).astimezone(timezone.utc)
            older = self._aged(f"{bucket.strip('/')}/{unquote(found[1])}", modified)
            return f"<Key>{found[1]}</Key><LastModified>{older:%Y-%m-%dT%H:%M:%S}.000Z</LastModified>"

        return _LISTED.sub(aged, text)


def _handler(store: AgingStore) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            if store.is_away:
                self.close_connection = True
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            own = {name.lower(): value for name, value in self.headers.items()}
            status, headers, content = store.forward(self.command, self.path, own, body)
            if self.command == "PUT" and store.lost_answers:
                store.lost_answers -= 1
                self.close_connection = True
                return
            self.send_response_only(status)
            length = headers.get("content-length", "0") if self.command == "HEAD" else str(len(content))
            for name, value in headers.items():
                if name not in ("content-length", "transfer-encoding", "connection", "keep-alive"):
                    self.send_header(name, value)
            if status != 204:
                self.send_header("content-length", length)
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else content)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *arguments: Any) -> None:
            """Nobody reads it."""

    return Handler
