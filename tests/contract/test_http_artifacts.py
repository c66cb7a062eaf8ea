"""What only web servers do: broken downloads, redirections, HEAD that is refused, rights, TLS. Over real sockets."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent.adapters.http import HttpArtifacts
from agent.adapters.http.pool import make_guarded_pool
from agent.errors import ArtifactMissing, InvalidInput, JobFault, StoreUnavailable
from agent.model.cargo import Access
from agent.ports import ArtifactInfo

from tests.contract.web_server import WebServer

MIB = 1024**2


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer() as running:
        yield running


def store_of(server: WebServer, *prefixes: str, access: Access | None = None) -> HttpArtifacts:
    """Return the files below the prefixes, else of the whole server; nothing waits before it is tried again."""
    return HttpArtifacts(make_guarded_pool(), prefixes or [server.url], access, wait=lambda seconds: None)


def read(store: HttpArtifacts, url: str) -> bytes:
    with store.open(url) as stream:
        return stream.read()


def pattern(size: int) -> bytes:
    """Bytes of which no two pages are alike."""
    return b"".join(number.to_bytes(4, "big") for number in range(size // 4))


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tags", ["strong", "date"])
def test_reading_goes_on_where_the_connection_broke(server: WebServer, tags: str) -> None:
    server.tags, server.cuts = tags, [3 * MIB, 0, MIB]
    server.files["/big"] = content = pattern(8 * MIB)
    assert read(store_of(server), f"{server.url}/big") == content
    begun = [each.headers.get("range") for each in server.seen]
    assert begun == [None, f"bytes={3 * MIB}-", f"bytes={3 * MIB}-", f"bytes={4 * MIB}-"]
    assert {each.headers["if-range"] for each in server.seen[1:]} == set(server.version(content).values())


def test_a_file_that_is_replaced_while_it_is_read_is_not_mixed_up(server: WebServer) -> None:
    server.files["/big"], server.cuts = pattern(4 * MIB), [2 * MIB]
    with store_of(server).open(f"{server.url}/big") as stream:
        stream.read(MIB)
        server.files["/big"] = bytes(4 * MIB)
        with pytest.raises(StoreUnavailable, match="replaced or removed while it was read"):
            stream.read()


def test_a_file_that_is_removed_while_it_is_read_is_no_end_of_file(server: WebServer) -> None:
    server.files["/big"], server.cuts = pattern(4 * MIB), [2 * MIB]
    with store_of(server).open(f"{server.url}/big") as stream:
        stream.read(MIB)
        del server.files["/big"]
        with pytest.raises(StoreUnavailable, match="replaced or removed while it was read"):
            stream.read()


@pytest.mark.parametrize("tags", ["weak", None])
def test_nothing_is_put_together_of_versions_that_may_differ(server: WebServer, tags: str | None) -> None:
    server.files["/big"], server.cuts, server.tags = pattern(4 * MIB), [2 * MIB], tags
    with pytest.raises(StoreUnavailable, match=r"names no version.*read it again"):
        read(store_of(server), f"{server.url}/big")


def test_a_server_without_ranges_is_not_read_twice(server: WebServer) -> None:
    server.files["/big"], server.cuts, server.ranges = pattern(4 * MIB), [2 * MIB], False
    with pytest.raises(StoreUnavailable, match="cannot be read from the middle"):
        read(store_of(server), f"{server.url}/big")


def test_what_is_stored_compressed_stays_so(server: WebServer) -> None:
    server.files["/a.gz"] = content = gzip.compress(b"content")
    version = server.version
    server.version = lambda content: {**version(content), "Content-Encoding": "gzip"}  # type: ignore[method-assign]
    assert read(store_of(server), f"{server.url}/a.gz") == content
    assert server.seen[-1].headers["accept-encoding"] == "identity"


def test_a_query_is_part_of_the_address(server: WebServer) -> None:
    server.files["/a"] = b"content"
    assert read(store_of(server), f"{server.url}/a?X-Amz-Signature=abc&b=c%2Fd") == b"content"
    assert server.seen[-1].path == "/a?X-Amz-Signature=abc&b=c%2Fd"


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [400, 403, 405, 501])
@pytest.mark.parametrize("content", [b"", b"0123456789"])
def test_the_size_is_known_where_head_is_refused(server: WebServer, head: int, content: bytes) -> None:
    server.files["/a"], server.head = content, head
    found = store_of(server).stat(f"{server.url}/a")
    assert found is not None
    assert found.size == len(content)
    assert server.methods() == ["HEAD", "GET"]


@pytest.mark.parametrize(("ranges", "tags"), [(True, "strong"), (False, None)])
def test_the_size_is_counted_where_no_server_tells_it(server: WebServer, ranges: bool, tags: str | None) -> None:
    server.files["/a"], server.lengths, server.ranges, server.tags = b"0123456789", False, ranges, tags
    found = store_of(server).stat(f"{server.url}/a")
    assert found is not None
    assert found.size == 10


def test_a_missing_file_is_missing_also_where_head_is_refused(server: WebServer) -> None:
    server.refusals = [405]
    assert store_of(server).stat(f"{server.url}/none") is None
    server.refusals = [410]
    assert store_of(server).stat(f"{server.url}/none") is None


def test_only_a_strong_tag_is_a_version(server: WebServer) -> None:
    server.files["/a"] = b"one"
    assert store_of(server).stat(f"{server.url}/a") == ArtifactInfo(3, server.version(b"one")["ETag"])
    server.tags = "weak"
    assert store_of(server).stat(f"{server.url}/a") == ArtifactInfo(3, None)


# --- rights -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "token", "access"),
    [
        (("me", "pass: word ü"), None, Access(user="me", password="pass: word ü")),
        (None, "abc.def-ghi", Access(token="abc.def-ghi")),
        (None, None, Access()),
        (None, None, Access(access_key="for S3", secret_key="only")),
    ],
)
def test_the_rights_of_a_job_are_sent(
    server: WebServer, user: tuple[str, str] | None, token: str | None, access: Access
) -> None:
    server.user, server.token = user, token
    store, url = store_of(server, access=access), f"{server.url}/a"
    store.write(url, [b"content"])
    assert read(store, url) == b"content"
    assert store.stat(url) is not None
    if user is None and token is None:
        assert all("authorization" not in each.headers for each in server.seen)


@pytest.mark.parametrize("access", [Access(), Access(token="wrong-one"), Access(user="me", password="wrong-one")])
def test_a_refusal_of_the_rights_of_a_job_stays(server: WebServer, access: Access) -> None:
    server.files["/a"], server.token = b"content", "right"
    store = store_of(server, access=access)
    for call in (lambda: store.open(f"{server.url}/a"), lambda: store.write(f"{server.url}/a", [b"x"])):
        with pytest.raises(JobFault, match=r"/a: HTTP status 40[13] .*user or a token") as caught:
            call()
        assert "wrong-one" not in str(caught.value)


def test_a_refusal_of_nobody_in_particular_may_pass(server: WebServer) -> None:
    server.files["/a"], server.token = b"content", "right"
    with pytest.raises(StoreUnavailable, match="HTTP status 401 Unauthorized"):
        store_of(server).open(f"{server.url}/a")


def test_a_token_that_would_forge_a_header_is_refused(server: WebServer) -> None:
    for token in ("a\r\nX-Other: b", "a b", "ü"):
        with pytest.raises(JobFault, match="bearer token") as caught:
            store_of(server, access=Access(token=token))
        assert token not in str(caught.value)


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_an_overloaded_server_is_asked_again(server: WebServer, status: int) -> None:
    server.refusals = [status, status]
    store_of(server).write(f"{server.url}/a", [b"content", b" in two"])
    assert server.files["/a"] == b"content in two"
    server.refusals = [status] * 3
    with pytest.raises(StoreUnavailable, match=f"HTTP status {status} .*tries again"):
        store_of(server).open(f"{server.url}/a")


@pytest.mark.parametrize("status", [400, 405, 409, 411, 413, 451, 501, 300, 202])
def test_an_upload_that_no_later_try_helps_is_the_fault_of_the_job(server: WebServer, status: int) -> None:
    server.refusals = [status]
    with pytest.raises(JobFault, match=f"/a: HTTP status {status} "):
        store_of(server).write(f"{server.url}/a", [b"content"])
    assert server.methods() == ["PUT"]


def test_a_part_that_nobody_asked_for_is_not_taken_for_the_whole(server: WebServer) -> None:
    server.files["/a"], server.refusals = b"content", [206]
    with pytest.raises(JobFault, match="HTTP status 206"):
        store_of(server).open(f"{server.url}/a")


def test_no_password_stands_in_any_message(server: WebServer) -> None:
    with pytest.raises(InvalidInput, match="no web address") as caught:
        store_of(server, "http://").open(f"http://me:hunter2@127.0.0.1:{server.port}/a")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ArtifactMissing) as missing:
        store_of(server).open(f"{server.url}/a?X-Amz-Signature=hunter2&token=hunter2")
    assert "hunter2" not in str(missing.value)
    with pytest.raises(InvalidInput, match="outside") as outside:
        store_of(server, "http://other").open(f"{server.url}/a?sig=hunter2")
    assert "hunter2" not in str(outside.value)


@pytest.mark.parametrize(
    "url", ["ftp://host/a", "http:///a", "http://host:99999/a", "http://h/a#b", "http://h:0/a", ""]
)
def test_what_is_no_web_address_is_refused(server: WebServer, url: str) -> None:
    with pytest.raises(InvalidInput, match="no web address"):
        store_of(server, "http://").stat(url)


# --- redirections -----------------------------------------------------------------------------------------------------


def test_a_redirection_below_the_prefixes_is_followed(server: WebServer) -> None:
    server.files["/data/b"] = b"content"
    server.moved = {"/data/a": (302, "b"), "/data/c": (301, f"{server.url}/data/a")}
    assert read(store_of(server, f"{server.url}/data"), f"{server.url}/data/c") == b"content"


def test_a_redirection_out_of_the_prefixes_is_not(server: WebServer) -> None:
    server.files["/private/b"] = b"secret"
    for target in ("/private/b", f"http://localhost:{server.port}/data/b", "/data/../private/b", "file:///etc/passwd"):
        server.moved = {"/data/a": (302, target)}
        with pytest.raises(JobFault, match=r"/data/a: the server points to .*(outside|no web address)"):
            store_of(server, f"{server.url}/data").open(f"{server.url}/data/a")
    assert {each.path for each in server.seen} == {"/data/a"}


def test_the_rights_are_not_sent_to_another_server(server: WebServer) -> None:
    with WebServer() as other:
        other.files["/a"] = b"content"
        server.token, server.moved = "secret", {"/a": (307, f"{other.url}/a")}
        store = store_of(server, server.url, other.url, access=Access(token="secret"))
        assert read(store, f"{server.url}/a") == b"content"
        assert "authorization" in server.seen[-1].headers
        assert "authorization" not in other.seen[-1].headers


def test_more_than_five_redirections_are_too_many(server: WebServer) -> None:
    server.files["/0"] = b"content"
    server.moved = {f"/{number}": (302, f"/{number - 1}") for number in range(1, 7)}
    assert read(store_of(server), f"{server.url}/5") == b"content"
    with pytest.raises(JobFault, match="more than 5 redirections"):
        store_of(server).open(f"{server.url}/6")
    server.moved = {"/loop": (302, "/loop")}
    with pytest.raises(JobFault, match="more than 5 redirections"):
        store_of(server).stat(f"{server.url}/loop")


def test_an_upload_follows_only_who_keeps_it_an_upload(server: WebServer) -> None:
    server.moved = {"/a": (307, "/b"), "/c": (302, "/d")}
    store_of(server).write(f"{server.url}/a", [b"content"] * 100_000)
    assert server.files == {"/b": b"content" * 100_000}
    with pytest.raises(JobFault, match="points an upload elsewhere"):
        store_of(server).write(f"{server.url}/c", [b"content"])
    assert "/d" not in server.files


# --- TLS --------------------------------------------------------------------------------------------------------------


def test_a_server_with_a_certificate_of_an_own_authority(server: WebServer, authority: Path) -> None:
    with WebServer(authority / "certs") as secure:
        secure.files["/a"], secure.moved = b"content", {"/down": (302, f"{server.url}/a")}
        pool = make_guarded_pool(str(authority / "ca.pem"))
        store = HttpArtifacts(pool, [secure.url, server.url, f"https://localhost:{secure.port}"], Access())
        assert read(store, f"{secure.url}/a") == b"content"
        with pytest.raises(JobFault, match="not encrypted any more"):
            store.open(f"{secure.url}/down")
        # The certificate is for the address: that stays wrong. An unknown authority may become known to this host.
        with pytest.raises(JobFault, match=r"no secure connection .*localhost"):
            store.open(f"https://localhost:{secure.port}/a")
        with pytest.raises(StoreUnavailable, match=r"no secure connection .*set \[s3\] ca_file"):
            HttpArtifacts(make_guarded_pool(), [secure.url], Access()).open(f"{secure.url}/a")


def test_a_file_of_authorities_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("none")
    with pytest.raises(StoreUnavailable, match=r"s3.ca_file: .*/ca.pem"):
        make_guarded_pool(str(tmp_path / "ca.pem"))
    with pytest.raises(StoreUnavailable, match=r"s3.ca_file: .*/gone: no such file"):
        make_guarded_pool(str(tmp_path / "gone"))


# --- addresses that no job reaches ------------------------------------------------------------------------------------


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Addresses by name: what the name server says during the test."""
    known: dict[str, list[str]] = {}
    resolve: Callable[..., Any] = socket.getaddrinfo

    def told(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        return [found for each in known.get(str(host), [host]) for found in resolve(each, port, *rest, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", told)
    return known


@pytest.mark.parametrize(
    "host",
    [
        *("169.254.169.254", "2852039166", "[fe80::1]", "[fd00:ec2::254]", "[::ffff:169.254.169.254]"),
        *("[64:ff9b::a9fe:a9fe]", "100.100.100.200"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_metadata_service_is_never_asked(server: WebServer, scheme: str, host: str) -> None:
    store = store_of(server, f"{scheme}://", access=Access())
    url = f"{scheme}://{host}/latest/meta-data/iam/security-credentials/"
    for call in (lambda: store.stat(url), lambda: store.open(url), lambda: store.write(url, [b"x"])):
        with pytest.raises(JobFault, match=r"link-local or of a metadata service.*name another host"):
            call()


def test_a_name_does_not_hide_a_metadata_service(server: WebServer, names: dict[str, list[str]]) -> None:
    server.files["/a"] = b"content"
    names["data.lab"] = ["127.0.0.1", "169.254.169.254"]
    store = store_of(server, "http://")
    with pytest.raises(JobFault, match=r'"data.lab" has the address 169.254.169.254'):
        store.open(f"http://data.lab:{server.port}/a")
    server.moved = {"/moved": (302, f"http://data.lab:{server.port}/a")}
    with pytest.raises(JobFault, match=r'"data.lab" has the address 169.254.169.254'):
        store.open(f"{server.url}/moved")
    assert [each.path for each in server.seen] == ["/moved"]


def test_of_several_addresses_one_that_answers_is_used(server: WebServer, names: dict[str, list[str]]) -> None:
    server.files["/a"] = b"content"
    names["data.lab"] = ["127.0.0.2", "127.0.0.1"]
    url = f"http://data.lab:{server.port}/a"
    assert read(store_of(server, "http://data.lab:" + str(server.port)), url) == b"content"
    assert server.seen[-1].headers["host"] == f"data.lab:{server.port}"


def test_a_name_that_cannot_be_resolved_may_be_later(server: WebServer) -> None:
    with pytest.raises(StoreUnavailable, match="its name cannot be resolved"):
        store_of(server, "http://").open("http://nowhere.invalid/a")
    with pytest.raises(JobFault, match="cannot be an address"):
        store_of(server, "http://").open(f"http://{'a' * 70}.invalid/a")
