"""What only S3 stores do: lost answers, weak servers, outages, parts, TLS, host names. Against a real MinIO."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import minio as library
import pytest
from agent.adapters.http.pool import make_pool
from agent.adapters.s3 import S3Artifacts, S3Client, S3Records
from agent.adapters.s3.errors import S3Failure
from agent.adapters.s3.multipart import PARALLEL
from agent.errors import ArtifactMissing, StoreUnavailable

from tests.contract.s3_stores import AgingStore, public
from tests.proxy import Proxy
from tests.servers import Minio
from tests.waiting import wait_until

MIB = 1024**2
PART = 5 * MIB
NewMinio = Callable[..., Minio]


def impatient(minio: Minio, port: int) -> S3Client:
    """Return a client that waits a second for an answer."""
    server = library.Minio(
        f"127.0.0.1:{port}",
        minio.access_key,
        minio.secret_key,
        secure=False,
        http_client=make_pool(connect=1.0, read=1.0),
    )
    return S3Client(server, "the proxy")


def body_of(records: S3Records, key: str) -> bytes:
    found = records.get(key)
    assert found is not None
    return found.body


def pattern(size: int) -> bytes:
    """Bytes of which no two pages are alike."""
    return b"".join(number.to_bytes(4, "big") for number in range(size // 4))


# --- records ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def aging(minio: Minio, bucket: str) -> Iterator[AgingStore]:
    public(minio, bucket)
    with AgingStore(minio.port) as store:
        yield store


@pytest.fixture
def records(minio: Minio, bucket: str, aging: AgingStore) -> S3Records:
    """Records that have passed their self-test."""
    store = S3Records(minio.client(endpoint=aging.endpoint), bucket, "lab")
    assert store.conditional_put_works()
    return store


def test_a_create_whose_answer_is_lost_is_a_create(records: S3Records, aging: AgingStore) -> None:
    aging.lost_answers = 1
    assert records.put("a/b", b"mine", create=True)
    assert body_of(records, "a/b") == b"mine"


def test_a_create_that_came_too_late_says_so_also_when_the_answer_is_lost(
    records: S3Records, aging: AgingStore
) -> None:
    records.put("a/b", b"theirs")
    aging.lost_answers = 1
    assert not records.put("a/b", b"mine", create=True)
    assert body_of(records, "a/b") == b"theirs"


@pytest.mark.parametrize("refusal", [(409, "ConditionalRequestConflict"), (500, "InternalError"), (503, "SlowDown")])
def test_a_create_that_the_server_could_not_do_is_tried_again(
    records: S3Records, aging: AgingStore, refusal: tuple[int, str]
) -> None:
    aging.refusals = [refusal, refusal]
    assert records.put("a/b", b"mine", create=True)
    aging.refusals = [refusal]
    assert not records.put("a/b", b"another", create=True)


def test_a_create_that_never_gets_an_answer_fails(records: S3Records, aging: AgingStore) -> None:
    aging.refusals = [(503, "SlowDown")] * 3
    with pytest.raises(StoreUnavailable, match=r"SlowDown.*tries again"):
        records.put("a/b", b"mine", create=True)
    assert records.get("a/b") is None


def test_a_refusal_is_no_doubt(records: S3Records, aging: AgingStore) -> None:
    aging.refusals = [(403, "AccessDenied")]
    with pytest.raises(StoreUnavailable, match=r"s3://.*/lab/a/b.json at http.*AccessDenied.*right to list"):
        records.put("a/b", b"mine", create=True)


def test_a_long_listing_comes_in_pages(records: S3Records, aging: AgingStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: records.put(f"a/{n}", b"{}"), range(20)))
        list(pool.map(lambda n: records.put(f"a/{n}/below", b"{}"), range(5)))
    aging.page_size = 3
    found = records.list("a/")
    assert set(found.records) == {str(n) for n in range(20)}
    assert found.prefixes == tuple(str(n) for n in range(5))


def test_the_self_test_leaves_nothing_behind(records: S3Records, minio: Minio, bucket: str) -> None:
    listed = minio.client().call("GET", bucket, query={"list-type": "2"}).data
    assert b"<Key>" not in listed
    assert records.list("").records == {}


def test_a_server_that_ignores_conditions_is_named_once(minio: Minio, bucket: str) -> None:
    public(minio, bucket)
    named: list[str] = []
    with AgingStore(minio.port, ignores_conditions=True) as weak:
        store = S3Records(minio.client(endpoint=weak.endpoint), bucket, "lab", weak=named.append)
        assert not store.conditional_put_works()
        assert store.put("a/b", b"first", create=True)
        assert not store.put("a/b", b"second", create=True)
        assert body_of(store, "a/b") == b"first"
    assert named == [f"s3://{bucket}/lab/ at {weak.endpoint}"]


def test_a_server_that_is_away_is_not_taken_for_a_weak_one(minio: Minio, bucket: str) -> None:
    with Proxy(minio.port) as proxy:
        store = S3Records(minio.client(endpoint=f"http://127.0.0.1:{proxy.port}"), bucket)
        proxy.cut()
        with pytest.raises(StoreUnavailable):
            store.conditional_put_works()
        proxy.restore()
        assert store.conditional_put_works()


def test_a_missing_bucket_is_neither_an_empty_store_nor_a_missing_artifact(minio: Minio) -> None:
    records, artifacts = S3Records(minio.client(), "not-there"), S3Artifacts(minio.client(), ["s3://not-there"])
    for call in (
        lambda: records.get("a"),
        lambda: records.list(""),
        lambda: records.put("a", b"{}"),
        lambda: artifacts.stat("s3://not-there/a"),
        lambda: artifacts.open("s3://not-there/a"),
    ):
        with pytest.raises(StoreUnavailable, match=r"s3://not-there/.*(NoSuchBucket.*queue init)"):
            call()


def test_a_bucket_is_made_once_however_many_make_it(minio: Minio) -> None:
    stores = [S3Records(minio.client(), "made-by-many") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda store: store.make(), stores))
    assert stores[0].list("").records == {}


def test_wrong_keys_are_named_as_such(minio: Minio, bucket: str) -> None:
    for keys, word in (
        ({"access_key": "nobody"}, "InvalidAccessKeyId"),
        ({"secret_key": "x"}, "SignatureDoesNotMatch"),
    ):
        with pytest.raises(StoreUnavailable, match=rf"{word}.*check \[s3\] access_key") as caught:
            S3Records(minio.client(**keys), bucket).list("")
        assert minio.secret_key not in str(caught.value)


# --- outages ----------------------------------------------------------------------------------------------------------


def test_a_server_that_goes_and_comes_back_is_used_again_at_once(new_minio: NewMinio) -> None:
    minio = new_minio()
    records = S3Records(minio.client(), "lab")
    records.make()
    records.put("a/b", b"kept", create=True)
    minio.stop(signal.SIGKILL)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="connection"):
        records.get("a/b")
    assert time.monotonic() - began < 5
    minio.start()
    assert body_of(records, "a/b") == b"kept"
    assert records.put("a/c", b"new", create=True)


def test_a_silent_server_is_given_up_and_used_again_when_it_speaks(minio: Minio, bucket: str) -> None:
    with Proxy(minio.port) as proxy:
        records = S3Records(impatient(minio, proxy.port), bucket)
        records.put("a/b", b"kept")
        proxy.silence()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"no answer in time.*check the network"):
            records.put("a/b", b"lost?", create=True)
        assert time.monotonic() - began < 10
        proxy.restore()
        assert records.put("a/c", b"new", create=True)
        assert body_of(records, "a/b") == b"kept"


def test_a_connection_that_broke_while_idle_is_not_noticed(minio: Minio, bucket: str) -> None:
    with Proxy(minio.port) as proxy:
        records = S3Records(minio.client(endpoint=f"http://127.0.0.1:{proxy.port}"), bucket)
        for _ in range(5):
            records.put("a/b", b"{}")
            proxy.drop()
            assert records.put("a/c", b"{}", create=True)
            proxy.drop()
            records.delete("a/c")


def test_a_slow_network_is_no_failure(minio: Minio, bucket: str) -> None:
    with Proxy(minio.port) as proxy:
        proxy.delay(0.2)
        records = S3Records(minio.client(endpoint=f"http://127.0.0.1:{proxy.port}"), bucket)
        assert records.put("a/b", b"{}", create=True)


# --- artifacts --------------------------------------------------------------------------------------------------------


def through(proxy: Proxy, minio: Minio, bucket: str) -> S3Artifacts:
    client = minio.client(endpoint=f"http://127.0.0.1:{proxy.port}")
    return S3Artifacts(client, [f"s3://{bucket}"], part_bytes=PART, copy_bytes=PART)


def test_reading_goes_on_where_the_connection_broke(minio: Minio, bucket: str) -> None:
    uri, content = f"s3://{bucket}/big", pattern(24 * MIB)
    with Proxy(minio.port) as proxy:
        store = through(proxy, minio, bucket)
        store.write(uri, [content])
        found = bytearray()
        with store.open(uri) as stream:
            while piece := stream.read(3 * MIB):
                found += piece
                proxy.drop()
    assert bytes(found) == content


def test_reading_goes_on_after_the_server_came_back(new_minio: NewMinio) -> None:
    minio, content = new_minio(), pattern(24 * MIB)
    minio.client().ensure_bucket("lab")
    store = S3Artifacts(minio.client(), ["s3://lab"])
    store.write("s3://lab/big", [content])
    with ThreadPoolExecutor(1) as pool, store.open("s3://lab/big") as stream:
        found = bytearray(stream.read(1 * MIB))
        minio.stop(signal.SIGKILL)
        rest = pool.submit(stream.read)
        minio.start()
        found += rest.result(30)
    assert bytes(found) == content


def test_an_object_that_is_replaced_while_it_is_read_is_not_mixed_up(minio: Minio, bucket: str) -> None:
    uri = f"s3://{bucket}/big"
    with Proxy(minio.port) as proxy:
        store = through(proxy, minio, bucket)
        store.write(uri, [pattern(24 * MIB)])
        with store.open(uri) as stream:
            stream.read(MIB)
            # MinIO lets nobody replace what is being read; a broken connection ends that.
            proxy.drop()
            store.write(uri, [bytes(24 * MIB)])
            with pytest.raises(StoreUnavailable, match="replaced or removed while it was read"):
                stream.read()


@pytest.mark.parametrize("size", [PART - 4, PART, PART + 4, 4 * PART, 6 * PART + 4])
def test_an_artifact_of_any_size_comes_back(minio: Minio, bucket: str, size: int) -> None:
    store = S3Artifacts(minio.client(), [f"s3://{bucket}"], part_bytes=PART, copy_bytes=PART)
    content, uri = pattern(size), f"s3://{bucket}/some/where"
    store.write(uri, (content[start : start + 300_000] for start in range(0, size, 300_000)))
    store.copy(uri, f"{uri}/copy")
    for each in (uri, f"{uri}/copy"):
        with store.open(each) as stream:
            assert stream.read() == content


def uploads(minio: Minio, bucket: str) -> int:
    """How many uploads of objects under "big" are begun and not ended; MinIO lists them by exact name only."""
    return minio.client().call("GET", bucket, query={"uploads": "", "prefix": "big"}).data.count(b"<UploadId>")


def test_an_upload_whose_source_fails_is_taken_back(minio: Minio, bucket: str) -> None:
    def source() -> Iterator[bytes]:
        yield bytes(3 * PART)
        wait_until(lambda: uploads(minio, bucket) == 1)
        raise ConnectionResetError("the source went away")

    store = S3Artifacts(minio.client(), [f"s3://{bucket}"], part_bytes=PART)
    with pytest.raises(ConnectionResetError):
        store.write(f"s3://{bucket}/big", source())
    assert uploads(minio, bucket) == 0
    assert store.stat(f"s3://{bucket}/big") is None


def test_an_upload_outlives_broken_connections(minio: Minio, bucket: str) -> None:
    content = pattern(6 * PART)
    with Proxy(minio.port) as proxy:

        def source() -> Iterator[bytes]:
            for start in range(0, len(content), PART):
                yield content[start : start + PART]
                proxy.drop()

        store = through(proxy, minio, bucket)
        store.write(f"s3://{bucket}/big", source())
        with store.open(f"s3://{bucket}/big") as stream:
            assert stream.read() == content


def test_an_upload_reads_no_further_ahead_than_it_sends(minio: Minio, bucket: str) -> None:
    taken = 0

    def source() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield bytes(PART)
            if taken == 3:
                proxy.silence()

    with Proxy(minio.port) as proxy:
        store = S3Artifacts(impatient(minio, proxy.port), [f"s3://{bucket}"], part_bytes=PART)
        with pytest.raises(StoreUnavailable):
            store.write(f"s3://{bucket}/big", source())
    assert taken <= 3 + PARALLEL + 1


def test_a_copy_of_what_is_gone_is_missing(minio: Minio, bucket: str) -> None:
    store = S3Artifacts(minio.client(), [f"s3://{bucket}"])
    with pytest.raises(ArtifactMissing):
        store.copy(f"s3://{bucket}/none", f"s3://{bucket}/none")


def test_the_library_still_gives_what_is_used_of_its_inside(minio: Minio, bucket: str) -> None:
    """If-None-Match has no public parameter: an update that renames what is used here must not pass unseen."""
    client = minio.client()
    client.call("PUT", bucket, "a", body=b"1", headers={"If-None-Match": "*"}, repeat=False)
    with pytest.raises(S3Failure) as caught:
        client.call("PUT", bucket, "a", body=b"2", headers={"If-None-Match": "*"}, repeat=False)
    assert (caught.value.status, caught.value.code) == (412, "PreconditionFailed")
    assert "Date" in client.call("GET", bucket, "a").headers


# --- TLS and names ----------------------------------------------------------------------------------------------------


def test_a_server_with_a_certificate_of_an_own_authority(new_minio: NewMinio, authority: Path) -> None:
    minio = new_minio(authority / "certs")
    records = S3Records(minio.client(ca_file=str(authority / "ca.pem")), "lab", "queue")
    records.make()
    assert records.put("a/b", b"over TLS", create=True)
    assert not records.put("a/b", b"again", create=True)
    assert body_of(records, "a/b") == b"over TLS"
    with pytest.raises(StoreUnavailable, match=r"no secure connection \(.*certificate.*\).*set \[s3\] ca_file"):
        S3Records(minio.client(), "lab").get("a")


def test_the_bucket_in_the_host_name(new_minio: NewMinio, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve: Callable[..., Any] = socket.getaddrinfo
    asked: set[str] = set()

    def resolve_localhost(host: Any, *rest: Any, **more: Any) -> Any:
        asked.add(str(host))
        return resolve("127.0.0.1" if str(host).endswith("localhost") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_localhost)
    minio = new_minio(MINIO_DOMAIN="localhost")
    client = partial(minio.client, endpoint=f"http://localhost:{minio.port}")
    records = S3Records(client(style="virtual"), "lab")
    records.make()
    assert records.put("a/b", b"{}", create=True)
    assert "lab.localhost" in asked
    asked.clear()
    assert body_of(S3Records(client(style="path"), "lab"), "a/b") == b"{}"
    assert asked == {"localhost"}
