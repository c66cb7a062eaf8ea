"""What only Cloud Storage does: uploads that go on, generations, checksums, accounts. Against fake-gcs-server."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import pytest
import urllib3
from agent.adapters.gcs import GcsArtifacts, connector
from agent.adapters.gcs.upload import PART_BYTES, SMALL_BYTES
from agent.errors import InvalidInput, StoreUnavailable
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.contract.gcs_front import GcsFront
from tests.proxy import Proxy
from tests.servers import FakeGcs

MIB = 1024**2
KEPT = 256 * 1024  # Cloud Storage keeps multiples of it


def pattern(size: int) -> bytes:
    """Bytes of which no two pages are alike."""
    return b"".join(number.to_bytes(4, "big") for number in range(size // 4)) + bytes(size % 4)


def slices(content: bytes, size: int = 300_000) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def content_of(store: GcsArtifacts, uri: str) -> bytes:
    with store.open(uri) as stream:
        return stream.read()


def store_at(endpoint: str, bucket: str, credentials_file: str | None = None) -> GcsArtifacts:
    return GcsArtifacts(connector(endpoint, credentials_file), [f"gs://{bucket}"])


@pytest.fixture
def front(gcs: FakeGcs) -> Iterator[GcsFront]:
    with GcsFront(gcs.port) as server:
        yield server


@pytest.fixture
def store(front: GcsFront, gcs_bucket: str) -> GcsArtifacts:
    return store_at(front.endpoint, gcs_bucket)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot succeed fails soon."""
    for room in ("reader", "upload"):
        monkeypatch.setattr(f"agent.adapters.gcs.{room}.PAUSES", (0.01, 0.01, 0.01))


@pytest.fixture
def uri(gcs_bucket: str) -> str:
    return f"gs://{gcs_bucket}/some/where"


# --- objects ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size", [SMALL_BYTES, SMALL_BYTES + 1, PART_BYTES - 4, PART_BYTES, PART_BYTES + 4, 2 * PART_BYTES]
)
def test_an_artifact_of_any_size_comes_back(store: GcsArtifacts, front: GcsFront, uri: str, size: int) -> None:
    content = pattern(size)
    store.write(uri, slices(content))
    store.copy(uri, f"{uri}/copy")
    for each in (uri, f"{uri}/copy"):
        assert content_of(store, each) == content
    assert any(request.is_part for request in front.requests) == (size > SMALL_BYTES)


def test_fifty_mebibytes_pass_in_little_memory(gcs: FakeGcs, gcs_bucket: str, uri: str) -> None:
    store, piece = store_at(gcs.endpoint, gcs_bucket), pattern(MIB)
    store.write(f"{uri}/small", [b"the library is loaded and connected"])
    tracemalloc.start()
    try:
        store.write(uri, (piece for _ in range(50)))
        read = hashlib.sha256()
        with store.open(uri) as stream:
            while got := stream.read(MIB):
                read.update(got)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert read.digest() == hashlib.sha256(piece * 50).digest()
    assert peak < 4 * PART_BYTES


@pytest.mark.parametrize(
    "key", ["with a space", 'it\'s "quoted"', "n\u00e4me/\u65e5\u672c", "a/b/c.tar.gz", "a%2Fb", "[x]*#?&+;"]
)
def test_a_key_is_what_the_uri_says(gcs: FakeGcs, store: GcsArtifacts, gcs_bucket: str, key: str) -> None:
    for size in (7, SMALL_BYTES + 1):
        store.write(f"gs://{gcs_bucket}/{quote(key)}", [bytes(size)])
        assert len(content_of(store, f"gs://{gcs_bucket}/{quote(key)}")) == size
    listed = urllib3.request("GET", f"{gcs.endpoint}/storage/v1/b/{gcs_bucket}/o", timeout=10).json()
    assert [item["name"] for item in listed["items"]] == [key]


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("s3://bucket/a", "no URI of Cloud Storage"),
        ("gs:///a", "no URI of Cloud Storage"),
        ("gs://user@bucket/a", "no URI of Cloud Storage"),
        ("gs://bucket:80/a", "no URI of Cloud Storage"),
        ("gs://bucket/a?generation=1", "write %3F"),
        ("gs://bucket/a#1", "write %3F"),
        ("gs://bucket/%FF", "is not UTF-8"),
        ("gs://bucket/a%0Ab", "names no object"),
        ("gs://bucket/" + "x" * 1025, "names no object"),
        ("gs://bucket/", "names no object"),
        ("gs://bucket/a//b", "names no object"),
        ("gs://bucket/a/%2e%2e/b", "names no object"),
        ("gs://buckets/a", "allowed: gs://bucket"),
    ],
)
def test_what_names_no_allowed_object_is_refused_before_anybody_is_asked(uri: str, words: str) -> None:
    def never() -> Any:
        raise AssertionError

    with pytest.raises(InvalidInput, match=words):
        GcsArtifacts(never, ["gs://bucket"]).stat(uri)


def test_a_version_is_another_one_after_each_write(store: GcsArtifacts, uri: str) -> None:
    versions = set()
    for _ in range(3):
        store.write(uri, [b"the same"])
        found = store.stat(uri)
        assert found is not None
        versions.add(found.version)
    assert len(versions) == 3


def test_a_missing_bucket_is_no_missing_artifact(gcs: FakeGcs, store: GcsArtifacts, uri: str) -> None:
    nowhere = store_at(gcs.endpoint, "not-there")
    for call in (
        lambda: nowhere.stat("gs://not-there/a"),
        lambda: nowhere.open("gs://not-there/a"),
        lambda: nowhere.write("gs://not-there/a", [b""]),
        lambda: nowhere.write("gs://not-there/a", [bytes(SMALL_BYTES + 1)]),
        lambda: nowhere.copy("gs://not-there/a", "gs://not-there/b"),
    ):
        with pytest.raises(StoreUnavailable, match=r"gs://not-there/a at http.* does not exist .*make the bucket"):
            call()


def test_a_copy_into_a_missing_bucket_says_so(gcs: FakeGcs, gcs_bucket: str, uri: str) -> None:
    store = GcsArtifacts(connector(gcs.endpoint), [f"gs://{gcs_bucket}", "gs://not-there"])
    store.write(uri, [b"content"])
    with pytest.raises(StoreUnavailable, match=r"gs://not-there/a at http.* does not exist .*make the bucket"):
        store.copy(uri, "gs://not-there/a")


def test_of_two_writers_of_a_large_artifact_one_stays_whole(gcs: FakeGcs, gcs_bucket: str, uri: str) -> None:
    both = threading.Barrier(2)

    def write(letter: bytes) -> None:
        def source() -> Iterator[bytes]:
            yield letter * PART_BYTES
            both.wait(30)  # both uploads have begun, none has ended
            yield letter * PART_BYTES
            both.wait(30)
            yield letter

        store_at(gcs.endpoint, gcs_bucket).write(uri, source())

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, (b"a", b"b")))
    found = content_of(store_at(gcs.endpoint, gcs_bucket), uri)
    assert found == found[:1] * (2 * PART_BYTES + 1)


# --- reading ----------------------------------------------------------------------------------------------------------


def test_reading_goes_on_where_the_answer_broke_off(store: GcsArtifacts, front: GcsFront, uri: str) -> None:
    content = pattern(20 * MIB)
    store.write(uri, [content])
    front.breaks = [3 * MIB, 1000, 0]
    assert content_of(store, uri) == content
    asked = [request.headers["range"] for request in front.requests if "alt=media" in request.path]
    assert [each.partition("-")[0] for each in asked] == [
        "bytes=0",
        f"bytes={3 * MIB}",
        f"bytes={3 * MIB + 1000}",
        f"bytes={3 * MIB + 1000}",
        f"bytes={8 * MIB}",
        f"bytes={16 * MIB}",
    ]


def test_reading_goes_on_after_broken_connections(gcs: FakeGcs, gcs_bucket: str, uri: str) -> None:
    content = pattern(24 * MIB)
    with Proxy(gcs.port) as proxy:
        store = store_at(f"http://127.0.0.1:{proxy.port}", gcs_bucket)
        store.write(uri, [content])
        found = bytearray()
        with store.open(uri) as stream:
            while piece := stream.read(3 * MIB):
                found += piece
                proxy.drop()
    assert bytes(found) == content


@pytest.mark.usefixtures("impatient")
def test_reading_ends_when_the_server_stays_away(gcs: FakeGcs, gcs_bucket: str, uri: str) -> None:
    with Proxy(gcs.port) as proxy:
        store = store_at(f"http://127.0.0.1:{proxy.port}", gcs_bucket)
        store.write(uri, [bytes(20 * MIB)])
        with store.open(uri) as stream:
            proxy.cut()
            with pytest.raises(StoreUnavailable, match=r"no connection \(.*\); check the network"):
                stream.read()


def test_an_object_that_is_replaced_while_it_is_read_is_not_mixed_up(store: GcsArtifacts, uri: str) -> None:
    store.write(uri, [pattern(20 * MIB)])
    with store.open(uri) as stream:
        stream.read(MIB)
        store.write(uri, [bytes(20 * MIB)])
        with pytest.raises(StoreUnavailable, match="replaced or removed while it was read"):
            stream.read()


def test_what_arrives_damaged_is_not_taken(store: GcsArtifacts, front: GcsFront, uri: str) -> None:
    store.write(uri, [b"content"])
    front.damage = True
    with pytest.raises(StoreUnavailable, match=r"arrived damaged \(its crc32c is .* here and .* there\)"):
        content_of(store, uri)


def test_a_refusal_is_not_repeated(store: GcsArtifacts, front: GcsFront, uri: str) -> None:
    front.refusals = [403]
    with pytest.raises(StoreUnavailable, match=r"permission denied \(Words of the server\); grant .*objectUser"):
        store.stat(uri)
    assert len(front.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_overloaded_server_is_asked_again(store: GcsArtifacts, front: GcsFront, uri: str, status: int) -> None:
    front.refusals = [status, status]
    store.write(uri, [b"content"])
    front.refusals = [status]
    found = store.stat(uri)
    assert found is not None
    assert found.size == 7
    front.refusals = [status] * 3
    with pytest.raises(StoreUnavailable, match="the agent tries again"):
        store.stat(uri)


# --- writing ----------------------------------------------------------------------------------------------------------


def parts(front: GcsFront) -> list[str]:
    """The spans of the parts that were sent."""
    return [request.headers["content-range"] for request in front.requests if request.is_part]


def test_a_part_whose_answer_is_lost_is_sent_again(store: GcsArtifacts, front: GcsFront, uri: str) -> None:
    content = pattern(2 * PART_BYTES + 5)
    front.lost_answers = 1
    store.write(uri, [content])
    assert len(parts(front)) == 4
    assert content_of(store, uri) == content


def test_an_end_whose_answer_is_lost_is_asked_for_again(store: GcsArtifacts, front: GcsFront, uri: str) -> None:
    front.lost_answers = 2
    store.write(uri, [pattern(2 * MIB)])
    assert parts(front) == [f"bytes 0-{2 * MIB - 1}/{2 * MIB}"] * 3
    assert content_of(store, uri) == pattern(2 * MIB)


def test_what_the_server_did_not_keep_is_sent_again(store: GcsArtifacts, front: GcsFront, uri: str) -> None:
    content = pattern(PART_BYTES + 3 * KEPT)
    front.keeps = [KEPT, 5 * KEPT]
    store.write(uri, [content])
    assert content_of(store, uri) == content
    total = len(content)
    assert parts(front) == [
        f"bytes 0-{PART_BYTES - 1}/*",
        f"bytes {KEPT}-{PART_BYTES - 1}/*",
        f"bytes {6 * KEPT}-{PART_BYTES - 1}/*",
        f"bytes {PART_BYTES}-{total - 1}/{total}",
    ]


def test_an_end_that_the_server_kept_and_did_not_take_for_the_end_is_ended(
    store: GcsArtifacts, front: GcsFront, uri: str
) -> None:
    size = 2 * MIB
    front.keeps = [size]
    store.write(uri, [pattern(size)])
    assert parts(front) == [f"bytes 0-{size - 1}/{size}", f"bytes */{size}"]
    assert content_of(store, uri) == pattern(size)


def test_a_server_that_keeps_nothing_is_given_up(store: GcsArtifacts, front: GcsFront, uri: str) -> None:
    front.keeps = [KEPT, 0]
    with pytest.raises(StoreUnavailable, match="the server lost a part of the upload"):
        store.write(uri, [bytes(PART_BYTES + 1)])
    assert store.stat(uri) is None


def test_an_upload_outlives_broken_connections(gcs: FakeGcs, gcs_bucket: str, uri: str) -> None:
    content = pattern(4 * PART_BYTES)
    with Proxy(gcs.port) as proxy:

        def source() -> Iterator[bytes]:
            for piece in slices(content, PART_BYTES):
                yield piece
                proxy.drop()

        store = store_at(f"http://127.0.0.1:{proxy.port}", gcs_bucket)
        store.write(uri, source())
        assert content_of(store, uri) == content


def test_an_upload_whose_source_fails_is_taken_back(store: GcsArtifacts, front: GcsFront, uri: str) -> None:
    def source() -> Iterator[bytes]:
        yield bytes(PART_BYTES)
        yield bytes(PART_BYTES)
        raise ConnectionResetError("the source went away")

    store.write(uri, [b"old"])
    with pytest.raises(ConnectionResetError):
        store.write(uri, source())
    assert front.requests[-1].method == "DELETE"
    assert "upload_id=" in front.requests[-1].path
    assert content_of(store, uri) == b"old"


def test_an_upload_that_the_server_forgot_is_begun_anew_by_the_next_write(own_gcs: FakeGcs, tmp_path: Path) -> None:
    own_gcs.make_bucket("lab")
    store = store_at(own_gcs.endpoint, "lab")

    def source() -> Iterator[bytes]:
        yield bytes(PART_BYTES)
        own_gcs.stop()
        own_gcs.start()
        own_gcs.make_bucket("lab")
        yield b"the end"

    with pytest.raises(StoreUnavailable, match=r"the server gave the upload up; write it again") as caught:
        store.write("gs://lab/a", source())
    assert "upload_id" not in str(caught.value)
    assert store.stat("gs://lab/a") is None
    store.write("gs://lab/a", [bytes(PART_BYTES), b"the end"])
    assert len(content_of(store, "gs://lab/a")) == PART_BYTES + 7


def test_the_address_of_an_upload_is_in_no_message(store: GcsArtifacts, front: GcsFront, uri: str) -> None:
    def source() -> Iterator[bytes]:
        yield bytes(PART_BYTES)
        front.refusals = [403] * 2
        yield b"the end"

    with pytest.raises(StoreUnavailable, match="permission denied") as caught:
        store.write(uri, source())
    assert "upload_id" not in str(caught.value)


@pytest.mark.usefixtures("impatient")
def test_an_upload_reads_no_further_ahead_than_it_sends(gcs: FakeGcs, gcs_bucket: str, uri: str) -> None:
    taken = 0

    def source() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield bytes(PART_BYTES)
            if taken == 3:
                proxy.cut()

    with Proxy(gcs.port) as proxy:
        store = store_at(f"http://127.0.0.1:{proxy.port}", gcs_bucket)
        with pytest.raises(StoreUnavailable, match="connection"):
            store.write(uri, source())
    assert taken <= 4


def test_a_silent_server_is_given_up_and_used_again_when_it_speaks(
    gcs: FakeGcs, gcs_bucket: str, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.adapters.gcs.client.TIMEOUT", (1.0, 1.0))
    with Proxy(gcs.port) as proxy:
        store = store_at(f"http://127.0.0.1:{proxy.port}", gcs_bucket)
        store.write(uri, [b"kept"])
        proxy.silence()
        began = time.monotonic()
        calls: tuple[Callable[[], object], ...] = (lambda: store.stat(uri), lambda: store.write(uri, [b"lost?"]))
        for call in calls:
            with pytest.raises(StoreUnavailable, match=r"no answer in time.*check the network"):
                call()
        assert time.monotonic() - began < 10
        proxy.restore()
        assert content_of(store, uri) == b"kept"


# --- accounts ---------------------------------------------------------------------------------------------------------


class TokenServer:
    """Gives tokens for assertions as Google's does; `refusal` is what it says instead."""

    def __init__(self) -> None:
        self.assertions: list[str] = []
        self.refusal: tuple[int, dict[str, str]] | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _token_handler(self))
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}/token"

    def __enter__(self) -> TokenServer:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), name="tokens", daemon=True).start()
        return self

    def __exit__(self, *about: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _token_handler(tokens: TokenServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            tokens.assertions += form.get("assertion", [])
            given = {"access_token": f"token-{len(tokens.assertions)}", "token_type": "Bearer", "expires_in": 3600}
            status, answer = tokens.refusal or (200, given)
            body = json.dumps(answer).encode()
            self.send_response_only(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Nobody reads it."""

    return Handler


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    with TokenServer() as server:
        yield server


@pytest.fixture(scope="module")
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def key_file(
    tmp_path: Path, private_key: rsa.RSAPrivateKey, tokens: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The key of a service account, whose tokens come from `tokens`."""
    # The library asks Google, beside all else, in which places the account may be used. This keeps it from there.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    pem = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    facts = {"type": "service_account", "project_id": "lab", "private_key_id": "key-1", "private_key": pem.decode()}
    facts |= {"client_email": "agent@lab.iam.gserviceaccount.com", "client_id": "1", "token_uri": tokens.uri}
    path = tmp_path / "key.json"
    path.write_text(json.dumps(facts))
    return path


def claims(assertion: str, key: rsa.RSAPrivateKey) -> dict[str, Any]:
    """Return what an assertion claims, its signature verified."""
    signed, _, signature = assertion.rpartition(".")
    raw = [base64.urlsafe_b64decode(each + "=" * (-len(each) % 4)) for each in (signature, signed.split(".")[1])]
    key.public_key().verify(raw[0], signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    found: dict[str, Any] = json.loads(raw[1])
    return found


def bearers(front: GcsFront) -> set[str | None]:
    return {request.headers.get("authorization") for request in front.requests}


def use(store: GcsArtifacts, uri: str) -> None:
    """Make every kind of request."""
    store.write(uri, [b"content"])
    store.write(uri, [bytes(PART_BYTES), b"the end"])
    store.copy(uri, f"{uri}/copy")
    assert len(content_of(store, f"{uri}/copy")) == PART_BYTES + 7


def test_the_application_default_credentials_are_used(
    front: GcsFront,
    tokens: TokenServer,
    key_file: Path,
    private_key: rsa.RSAPrivateKey,
    gcs_bucket: str,
    uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file))
    monkeypatch.setenv("API_ENDPOINT_OVERRIDE", front.endpoint)  # what the library takes for Google's address
    use(GcsArtifacts(connector(), [f"gs://{gcs_bucket}"]), uri)
    assert bearers(front) == {"Bearer token-1"}
    (assertion,) = tokens.assertions
    found = claims(assertion, private_key)
    assert found["iss"] == "agent@lab.iam.gserviceaccount.com"
    assert found["scope"] == "https://www.googleapis.com/auth/devstorage.read_write"


def test_a_configured_key_is_used_before_that_of_the_environment(
    front: GcsFront, key_file: Path, gcs_bucket: str, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file.with_name("nothing.json")))
    use(store_at(front.endpoint, gcs_bucket, str(key_file)), uri)
    assert bearers(front) == {"Bearer token-1"}


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_an_emulator_is_spoken_to_anonymously(
    front: GcsFront, key_file: Path, gcs_bucket: str, uri: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file))
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", scheme + front.endpoint.removeprefix("http://"))
    use(GcsArtifacts(connector(), [f"gs://{gcs_bucket}"]), uri)
    assert bearers(front) == {None}


def test_a_configured_endpoint_counts_before_the_emulator_of_the_environment(
    gcs: FakeGcs, gcs_bucket: str, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    use(store_at(gcs.endpoint, gcs_bucket), uri)


def test_a_key_that_google_does_not_take_is_named_with_the_remedy(
    front: GcsFront, tokens: TokenServer, key_file: Path, gcs_bucket: str, uri: str
) -> None:
    store = store_at(front.endpoint, gcs_bucket, str(key_file))
    tokens.refusal = (400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
    with pytest.raises(
        StoreUnavailable, match=r"not accept the credentials \(invalid_grant: .*GOOGLE_APPLICATION"
    ) as e:
        store.stat(uri)
    assert "PRIVATE KEY" not in str(e.value)
    tokens.refusal = None
    assert store.stat(uri) is None


def test_an_access_token_that_is_not_taken_any_more_is_renewed_also_within_an_upload(
    front: GcsFront, key_file: Path, gcs_bucket: str, uri: str
) -> None:
    store = store_at(front.endpoint, gcs_bucket, str(key_file))
    content = pattern(PART_BYTES + 5)

    def source() -> Iterator[bytes]:
        yield content[:PART_BYTES]
        front.refusals = [401]
        yield content[PART_BYTES:]

    store.write(uri, source())
    assert content_of(store, uri) == content
    assert bearers(front) == {"Bearer token-1", "Bearer token-2"}


@pytest.mark.parametrize("text", [None, "not JSON", "{}"])
def test_a_key_file_that_cannot_be_used_is_named_with_the_remedy(
    tmp_path: Path, gcs_bucket: str, uri: str, text: str | None
) -> None:
    path = tmp_path / "nothing.json"
    if text is not None:
        path.write_text(text)
    store = store_at("http://127.0.0.1:1", gcs_bucket, str(path))
    for _ in range(2):
        with pytest.raises(
            StoreUnavailable, match=r"no Google credentials for .*; set gcs\.credentials_file or GOOGLE"
        ):
            store.stat(uri)


def test_no_credentials_at_all_are_named_with_the_remedy(
    gcs_bucket: str, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # nobody looks for the metadata of a cloud
    store = GcsArtifacts(connector(), [f"gs://{gcs_bucket}"])
    with pytest.raises(StoreUnavailable, match=r"no Google credentials for .*; set gcs\.credentials_file or GOOGLE"):
        store.stat(uri)


def test_the_library_is_loaded_when_the_first_object_is_used() -> None:
    program = (
        "import os, sys; from agent.adapters.gcs import GcsArtifacts, connector\n"
        "store = GcsArtifacts(connector('http://127.0.0.1:1'), ['gs://bucket'])\n"
        "assert not [each for each in sys.modules if each.startswith(('google', 'grpc', 'requests'))]\n"
        "assert os.environ['GRPC_ENABLE_FORK_SUPPORT'] == '0'\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
