"""What registries answer besides what they should, and how they ask who is there."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from agent.adapters.images.registry import Platform, Registries, SifLayer
from agent.errors import JobFault, StoreUnavailable
from agent.images.reference import Reference
from agent.model.cargo import Access

from tests.oci import INDEX

MANIFEST = json.dumps(
    {"mediaType": INDEX, "manifests": [{"digest": "sha256:1", "platform": {"os": "linux", "architecture": "arm64"}}]}
).encode()
FOUND = (Platform("arm64", "", "sha256:1"),)
JOB = Access(user="job", password="pass:word")
BASIC = "Basic " + base64.b64encode(b"job:pass:word").decode()


class Answer(msgspec.Struct, frozen=True):
    """What the server says."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}


class Asked(msgspec.Struct, frozen=True):
    """What it was asked."""

    path: str
    query: dict[str, list[str]]
    rights: str | None


class Stub:
    """A server whose `answer` a test sets."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Answer] = lambda asked: Answer(200, MANIFEST)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.host}"
        self.image = Reference(self.host, "team/tool", "1.0")
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(stub: Stub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked = Asked(parts.path, parse_qs(parts.query), self.headers.get("Authorization"))
            stub.asked.append(asked)
            answer = stub.answer(asked)
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *arguments: Any) -> None:
            """Nobody reads it."""

    return Handler


@pytest.fixture
def stub() -> Iterator[Stub]:
    server = Stub()
    yield server
    server.stop()


@pytest.fixture
def other() -> Iterator[Stub]:
    server = Stub()
    yield server
    server.stop()


def wants_token(stub: Stub, realm: str | None = None) -> None:
    """Let the server want a token, which it gives to everybody, as Docker Hub does for public images."""

    def answer(asked: Asked) -> Answer:
        if asked.path == "/token":
            return Answer(200, json.dumps({"token": "a-token"}).encode())
        if asked.rights == "Bearer a-token":
            return Answer(200, MANIFEST)
        words = f'Bearer realm="{realm or stub.url + "/token"}",service="registry",scope="repository:team/tool:pull"'
        return Answer(401, headers={"WWW-Authenticate": words})

    stub.answer = answer


@pytest.mark.parametrize(("access", "shown"), [(None, None), (JOB, BASIC)])
def test_a_token_is_fetched_with_the_rights_of_the_job(stub: Stub, access: Access | None, shown: str | None) -> None:
    wants_token(stub)
    assert Registries().platforms(stub.image, access) == FOUND
    assert [asked.path for asked in stub.asked] == [
        "/v2/team/tool/manifests/1.0",
        "/token",
        "/v2/team/tool/manifests/1.0",
    ]
    assert stub.asked[1].query == {"service": ["registry"], "scope": ["repository:team/tool:pull"]}
    assert [asked.rights for asked in stub.asked] == [None, shown, "Bearer a-token"]


def test_a_registry_may_ask_for_the_password_itself(stub: Stub) -> None:
    def answer(asked: Asked) -> Answer:
        if asked.rights == BASIC:
            return Answer(200, MANIFEST)
        return Answer(401, headers={"WWW-Authenticate": 'Basic realm="registry"'})

    stub.answer = answer
    assert Registries().platforms(stub.image, JOB) == FOUND
    with pytest.raises(JobFault, match="denies access"):
        Registries().platforms(stub.image)


@pytest.mark.parametrize("realm", ["file:///etc/passwd", "ftp://127.0.0.1/token", ""])
def test_a_source_of_tokens_that_is_not_safe_gets_no_password(stub: Stub, realm: str) -> None:
    wants_token(stub, realm or "no-url")
    with pytest.raises(JobFault, match="not safe"):
        Registries().platforms(stub.image, JOB)


def test_a_password_does_not_follow_to_another_server(stub: Stub, other: Stub) -> None:
    def answer(asked: Asked) -> Answer:
        if asked.rights is None:
            return Answer(401, headers={"WWW-Authenticate": "Basic"})
        return Answer(307, headers={"Location": f"{other.url}/elsewhere"})

    stub.answer = answer
    assert Registries().platforms(stub.image, JOB) == FOUND
    assert [asked.rights for asked in other.asked] == [None]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_redirection_to_another_protocol_is_not_followed(stub: Stub, target: str) -> None:
    stub.answer = lambda asked: Answer(302, headers={"Location": target})
    with pytest.raises(JobFault, match="not safe"):
        Registries().platforms(stub.image)


def test_what_is_not_there_is_none(stub: Stub) -> None:
    stub.answer = lambda asked: Answer(404, b'{"errors": []}')
    assert Registries().platforms(stub.image) is None


@pytest.mark.parametrize("status", [401, 403])
def test_access_that_is_denied_is_the_jobs_fault(stub: Stub, status: int) -> None:
    stub.answer = lambda asked: Answer(status)
    with pytest.raises(JobFault, match="denies access"):
        Registries().platforms(stub.image)


SICK = {
    "limit": (Answer(429), "limits how often"),
    "error": (Answer(503), "HTTP status 503"),
    "odd status": (Answer(418), "HTTP status 418"),
    "no JSON": (Answer(200, b"<html>"), "no registry's"),
    "another JSON": (Answer(200, b'{"manifests": [1]}'), "no registry's"),
    "a list": (Answer(200, b"[]"), "no registry's"),
    "too much": (Answer(200, b" " * 5_000_000), "5"),
    "a circle": (Answer(302, headers={"Location": "/v2/team/tool/manifests/1.0"}), "127.0.0.1"),
    "broken off": (Answer(200, MANIFEST[:10], {"Content-Length": "99"}), "the connection broke"),
}


@pytest.mark.parametrize(("answer", "words"), SICK.values(), ids=SICK)
def test_a_registry_that_is_not_well_is_asked_again_later(stub: Stub, answer: Answer, words: str) -> None:
    stub.answer = lambda asked: answer
    with pytest.raises(StoreUnavailable, match=words):
        Registries().platforms(stub.image)


def test_a_manifest_of_the_old_form_cannot_be_used(stub: Stub) -> None:
    stub.answer = lambda asked: Answer(200, b'{"schemaVersion": 1, "architecture": "amd64"}')
    with pytest.raises(JobFault, match="push it anew"):
        Registries().platforms(stub.image)


def test_content_without_the_digest_it_was_asked_for_by_is_not_believed(stub: Stub) -> None:
    right = Reference(stub.host, "a", digest=f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}")
    assert Registries().platforms(right) == FOUND
    with pytest.raises(StoreUnavailable, match="not what has the digest"):
        Registries().platforms(Reference(stub.host, "a", digest=f"sha256:{'0' * 64}"))


def test_only_registries_of_this_host_and_those_named_are_asked_without_tls() -> None:
    registries = Registries(["lab.example:5000"])
    plain = ("localhost", "localhost:5000", "127.0.0.1:1", "[::1]:5000", "lab.example:5000")
    secure = ("lab.example", "lab.example:5001", "127.0.0.1.example.org", "localhost.example.org:1", "docker.io")
    assert [registries.is_insecure(host) for host in plain] == [True] * len(plain)
    assert [registries.is_insecure(host) for host in secure] == [False] * len(secure)


def test_a_host_that_serves_this_machine_alone_is_never_asked() -> None:
    with pytest.raises(JobFault, match="metadata service"):
        Registries().platforms(Reference("169.254.169.254", "a"))


def test_a_file_goes_on_with_a_new_token_where_the_old_one_has_run_out(stub: Stub) -> None:
    content = bytes(range(250)) * 4
    layer = SifLayer(hashlib.sha256(content).hexdigest(), len(content))
    valid = ["nothing"]

    def answer(asked: Asked) -> Answer:
        if asked.path == "/token":
            valid.append(f"token-{len(valid)}")
            return Answer(200, json.dumps({"token": valid[-1]}).encode())
        if asked.rights != f"Bearer {valid[-1]}":
            return Answer(401, headers={"WWW-Authenticate": f'Bearer realm="{stub.url}/token"'})
        if valid[-1] == "token-1":
            valid.append("nothing any more")
            return Answer(200, content[:300], {"Content-Length": str(len(content))})
        return Answer(206, content[300:], {"Content-Range": f"bytes 300-{len(content) - 1}/{len(content)}"})

    stub.answer = answer
    waits: list[float] = []
    with io.BufferedReader(Registries().open_layer(stub.image, layer, None, waits.append), 100) as stream:
        assert stream.read() == content
    blob = f"/v2/team/tool/blobs/sha256:{layer.sha256}"
    assert [asked.path for asked in stub.asked] == [blob, "/token", blob, blob, "/token", blob]
    assert len(waits) == 1
