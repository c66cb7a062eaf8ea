"""Artifact stores by rights: the agent's own and those that jobs bring, on MinIO and on a web server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from agent.adapters.access import StoreAccess
from agent.adapters.files import FileArtifacts
from agent.adapters.http.pool import make_guarded_pool
from agent.adapters.s3 import S3Stores
from agent.adapters.s3.brought import BroughtClients
from agent.config.s3 import S3Section
from agent.errors import ArtifactMissing, InvalidInput, JobFault, StoreUnavailable
from agent.model.cargo import Access
from agent.ports import ArtifactStore
from minio.credentials.providers import AssumeRoleProvider

from tests.contract.web_server import WebServer
from tests.fakes import FakeArtifacts
from tests.proxy import Proxy
from tests.servers import Minio

MIB = 1024**2
NewMinio = Callable[..., Minio]
ALL = ("s3+http://", "s3+https://", "http://", "https://")


def access_to(
    section: S3Section | None = None,
    *,
    own: tuple[str, ...] = (),
    brought: tuple[str, ...] = ALL,
    stores: dict[str, ArtifactStore] | None = None,
) -> StoreAccess:
    section = section or S3Section()
    return StoreAccess(stores or {}, own, brought, lambda: S3Stores(section, {}, lambda: None), section.ca_file)


def keys_of(minio: Minio) -> Access:
    return Access(access_key=minio.access_key, secret_key=minio.secret_key)


def named(minio: Minio, bucket: str, key: str = "a") -> str:
    return f"s3+{minio.endpoint}/{bucket}/{key}"


def read(store: ArtifactStore, uri: str) -> bytes:
    with store.open(uri) as stream:
        return stream.read()


def calls(store: ArtifactStore, uri: str) -> tuple[Callable[[], object], ...]:
    """All that can be asked of a store."""
    return (
        lambda: store.stat(uri),
        lambda: store.open(uri),
        lambda: store.write(uri, [b"x"]),
        lambda: store.copy(uri, f"{uri}-copy"),
    )


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer() as server:
        yield server


# --- the agent's own rights -------------------------------------------------------------------------------------------


def test_without_rights_of_a_job_all_stores_of_the_agent_are_there(
    minio: Minio, bucket: str, web: WebServer, tmp_path: Path
) -> None:
    uri, page = named(minio, bucket), f"{web.url}/data/a"
    own = (f"s3+{minio.endpoint}/{bucket}", f"{web.url}/data", f"file://{tmp_path}")
    store = access_to(minio.section(), own=own, stores={"file": FileArtifacts([tmp_path])}).by(None)
    for each in (uri, page, f"file://{tmp_path}/a"):
        store.write(each, [b"content"])
        assert read(store, each) == b"content"
    store.copy(uri, f"{web.url}/data/b")
    assert web.files["/data/b"] == b"content"
    for each in (f"{web.url}/other/a", named(minio, "other-bucket")):
        with pytest.raises(InvalidInput, match="outside the allowed"):
            store.open(each)


def test_the_own_rights_are_for_the_own_server_alone(minio: Minio, bucket: str, web: WebServer) -> None:
    foreign = f"s3+{web.url}/{bucket}/a"
    store = access_to(minio.section(), own=("s3+http://",)).by(None)
    store.write(named(minio, bucket), [b"content"])
    for call in calls(store, foreign):
        with pytest.raises(InvalidInput, match=rf"is on another server than {minio.endpoint}"):
            call()
    assert web.seen == []


def test_the_own_server_is_not_asked_for_what_nobody_allowed(minio: Minio, bucket: str) -> None:
    store = access_to(minio.section(), own=("file:///srv",)).by(None)
    with pytest.raises(InvalidInput, match=r'no store for "s3\+http:"'):
        store.open(named(minio, bucket))


# --- the rights of jobs -----------------------------------------------------------------------------------------------


def test_the_rights_of_a_job_reach_no_store_of_the_agent(minio: Minio, bucket: str) -> None:
    memory = FakeArtifacts()
    memory.write("mem://store/a", [b"secret"])
    access = access_to(minio.section(), own=("s3://", "mem://"), stores={"mem": memory, "s3": memory})
    for uri in ("mem://store/a", f"s3://{bucket}/a", "file:///etc/passwd", "gs://bucket/a"):
        with pytest.raises(InvalidInput, match="no store for"):
            access.by(keys_of(minio)).open(uri)


def test_the_rights_of_a_job_are_used_below_their_prefixes_only(minio: Minio, bucket: str, web: WebServer) -> None:
    allowed = (f"s3+{minio.endpoint}/{bucket}/in", f"{web.url}/in")
    store = access_to(brought=allowed).by(keys_of(minio))
    store.write(named(minio, bucket, "in/a"), [b"content"])
    outside = ("input/a", "out/a", "in/../out/a", "in/%2e%2e/a")
    for uri in [named(minio, bucket, each) for each in outside] + [f"{web.url}/{each}" for each in outside]:
        for call in calls(store, uri):
            with pytest.raises(InvalidInput):
                call()
    assert web.seen == []


def test_a_job_brings_keys(minio: Minio, bucket: str) -> None:
    store, uri = access_to().by(keys_of(minio)), named(minio, bucket, "some/n%C3%A4me")
    content = bytes(range(256)) * 4096 * 40  # in parts
    store.write(uri, [content])
    store.copy(uri, f"{uri}-copy")
    assert read(store, f"{uri}-copy") == content
    found = store.stat(uri)
    assert found is not None
    assert found.size == len(content)


def test_a_job_brings_a_session(minio: Minio, bucket: str) -> None:
    role = AssumeRoleProvider(
        sts_endpoint=minio.endpoint, access_key=minio.access_key, secret_key=minio.secret_key
    ).retrieve()
    access, uri = access_to(), named(minio, bucket)
    keys = Access(access_key=role.access_key, secret_key=role.secret_key, session_token=role.session_token)
    access.by(keys).write(uri, [b"content"])
    assert read(access.by(keys), uri) == b"content"
    for token in (None, "of another session"):
        other = Access(access_key=role.access_key, secret_key=role.secret_key, session_token=token and "eyJ.e30.x")
        for call in calls(access.by(other), uri):
            with pytest.raises(JobFault, match=r"InvalidTokenId.*keys that are valid while it runs") as caught:
                call()
            assert role.secret_key not in str(caught.value)


def opened_to_all(minio: Minio, bucket: str) -> None:
    """Let everybody read the objects of the bucket, and nothing else."""
    rule = {"Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action": ["s3:GetObject"]}
    body = json.dumps({"Version": "2012-10-17", "Statement": [{**rule, "Resource": [f"arn:aws:s3:::{bucket}/*"]}]})
    minio.client().call("PUT", bucket, body=body.encode(), query={"policy": ""})


@pytest.mark.parametrize(
    "rights",
    [
        Access(),
        Access(access_key="", secret_key="", session_token=""),
        Access(access_key="nobody", secret_key="a secret of nobody"),
        Access(access_key=Minio.access_key, secret_key="a wrong secret"),
        Access(access_key=Minio.access_key, secret_key=Minio.secret_key, session_token="a.wrong.token"),
    ],
    ids=["nobody", "empty", "unknown", "wrong", "session"],
)
def test_what_is_public_is_read_whatever_the_rights(minio: Minio, bucket: str, rights: Access) -> None:
    opened_to_all(minio, bucket)
    uri = named(minio, bucket)
    access_to().by(keys_of(minio)).write(uri, [b"public" * MIB])
    store = access_to().by(rights)
    assert read(store, uri) == b"public" * MIB
    found = store.stat(uri)
    assert found is not None
    assert found.size == 6 * MIB
    with pytest.raises(JobFault, match=f"s3://{bucket}/a at {minio.endpoint}: "):
        store.write(uri, [b"vandalised"])
    assert read(store, uri) == b"public" * MIB


def test_who_may_read_objects_alone_sees_that_one_is_missing(minio: Minio, bucket: str) -> None:
    rule = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"arn:aws:s3:::{bucket}/*"]}
    role = AssumeRoleProvider(
        sts_endpoint=minio.endpoint,
        access_key=minio.access_key,
        secret_key=minio.secret_key,
        policy=json.dumps({"Version": "2012-10-17", "Statement": [rule]}),
    ).retrieve()
    keys = Access(access_key=role.access_key, secret_key=role.secret_key, session_token=role.session_token)
    store, uri = access_to().by(keys), named(minio, bucket)
    assert store.stat(uri) is None
    with pytest.raises(ArtifactMissing):
        store.open(uri)


WRONG = [
    (Access(access_key="nobody", secret_key="secret-of-it"), "InvalidAccessKeyId.*correct the keys"),
    (Access(access_key=Minio.access_key, secret_key="secret-of-it"), "SignatureDoesNotMatch.*correct the keys"),
    (Access(), "AccessDenied.*the rights that the job brings"),
]


@pytest.mark.parametrize(("rights", "words"), WRONG, ids=["unknown", "wrong", "nobody"])
def test_rights_that_do_not_reach_are_the_fault_of_the_job(
    minio: Minio, bucket: str, rights: Access, words: str
) -> None:
    for call in calls(access_to().by(rights), named(minio, bucket)):
        with pytest.raises(JobFault, match=f"s3://{bucket}/a at {minio.endpoint}: {words}") as caught:
            call()
        assert "secret-of-it" not in str(caught.value)
        assert not isinstance(caught.value, ArtifactMissing)


def test_a_bucket_that_is_not_there_is_the_fault_of_the_job(minio: Minio) -> None:
    store = access_to().by(keys_of(minio))
    for call in calls(store, named(minio, "not-there")):
        with pytest.raises(JobFault, match=r"s3://not-there/.*NoSuchBucket.*correct its name"):
            call()


@pytest.mark.parametrize(
    ("rights", "words"),
    [
        (Access(access_key="alone-here"), "access key without its secret key"),
        (Access(secret_key="alone-here"), "secret key without its access key"),
        (Access(access_key="alone-here\r\nX: y", secret_key="s"), "access key .* has characters"),
        (Access(access_key="k", secret_key="s", session_token="alone-here\n"), "session token .* has characters"),
        (Access(access_key="k", secret_key="s", region="alone-here/x"), "region .* is no name"),
    ],
)
def test_rights_that_no_request_can_carry_are_the_fault_of_the_job(rights: Access, words: str) -> None:
    with pytest.raises(JobFault, match=words) as caught:
        access_to().by(rights).stat("s3+http://127.0.0.1:1/bucket/a")
    assert "alone-here" not in str(caught.value)


@pytest.mark.parametrize("uri", ["s3+http://me:hunter2@host/bucket/a", "s3+http://host:x/bucket/a", "s3+http:///b/a"])
def test_what_names_no_server_is_refused(uri: str) -> None:
    for call in calls(access_to().by(Access()), uri):
        with pytest.raises(InvalidInput) as caught:
            call()
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("bucket", ["%3Fpolicy", "a%2Fb", "..", "%2e%2e", "a%20b", "", "x"])
def test_what_names_no_bucket_is_refused(bucket: str) -> None:
    for call in calls(access_to().by(Access()), f"s3+http://127.0.0.1:1/{bucket}/key"):
        with pytest.raises(InvalidInput):
            call()


def test_a_bucket_of_another_region_is_found(new_minio: NewMinio) -> None:
    minio = new_minio(MINIO_SITE_REGION="eu-central-1")
    minio.client(region="eu-central-1").ensure_bucket("lab")
    for number, region in enumerate((None, "us-west-2", "eu-central-1")):
        keys, uri = Access(minio.access_key, minio.secret_key, region=region), named(minio, "lab", f"{number}")
        assert access_to().by(keys).stat(uri) is None
        access_to().by(keys).write(uri, [b"content"])
        assert read(access_to().by(keys), uri) == b"content"


def test_artifacts_go_from_one_server_to_another(
    minio: Minio, bucket: str, new_minio: NewMinio, web: WebServer
) -> None:
    other = new_minio()
    other.client().ensure_bucket("lab")
    store = access_to().by(keys_of(minio))
    store.write(named(minio, bucket), [b"content"])
    store.copy(named(minio, bucket), named(other, "lab"))
    store.copy(named(other, "lab"), f"{web.url}/a")
    assert web.files == {"/a": b"content"}
    with pytest.raises(ArtifactMissing):
        store.copy(named(minio, bucket, "none"), named(other, "lab"))


# --- what may pass ----------------------------------------------------------------------------------------------------


def test_a_server_that_is_away_is_no_fault_of_the_job(minio: Minio, bucket: str) -> None:
    with Proxy(minio.port) as proxy:
        store, uri = access_to().by(keys_of(minio)), f"s3+http://127.0.0.1:{proxy.port}/{bucket}/a"
        store.write(uri, [b"content"])
        proxy.cut()
        for call in calls(store, uri):
            with pytest.raises(StoreUnavailable, match="connection"):
                call()
        proxy.restore()
        assert read(store, uri) == b"content"


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_in_trouble_is_no_fault_of_the_job(web: WebServer, status: int) -> None:
    web.refusals = [status] * 3
    with pytest.raises(StoreUnavailable, match=f"HTTP status {status}"):
        access_to().by(Access()).open(f"s3+{web.url}/bucket/a")
    assert web.methods() == ["GET"] * 3


def test_a_name_that_cannot_be_resolved_may_be_later() -> None:
    with pytest.raises(StoreUnavailable, match="its name cannot be resolved"):
        access_to().by(Access()).open("s3+https://nowhere.invalid/bucket/a")


# --- servers that are not to be trusted -------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["s3+http", "s3+https"])
@pytest.mark.parametrize("host", ["169.254.169.254", "169.254.170.2:80", "[fe80::1]", "[fd00:ec2::254]"])
def test_a_metadata_service_is_never_asked(scheme: str, host: str) -> None:
    for call in calls(access_to().by(Access()), f"{scheme}://{host}/latest/meta-data"):
        with pytest.raises(JobFault, match="link-local or of a metadata service"):
            call()


def test_an_s3_server_cannot_send_a_request_elsewhere(web: WebServer) -> None:
    with WebServer() as other:
        for status in (301, 302, 307, 308):
            web.moved = {"/bucket/a": (status, f"{other.url}/a")}
            for call in calls(access_to().by(Access(access_key="k", secret_key="s")), f"s3+{web.url}/bucket/a"):
                with pytest.raises(JobFault, match=r"points to another address|region"):
                    call()
        assert other.seen == []


def test_an_answer_without_end_fills_no_memory(web: WebServer) -> None:
    web.files["/a"] = bytes(8 * MIB)
    assert len(make_guarded_pool().urlopen("GET", f"{web.url}/a").data) == MIB


def test_a_server_that_is_none_for_s3_is_named(web: WebServer) -> None:
    web.files["/bucket/a"] = b"<html>Please log in</html>"
    store = access_to().by(Access())
    web.lengths = False
    with pytest.raises(StoreUnavailable, match=r"tells no size; check that an S3 server answers there"):
        store.stat(f"s3+{web.url}/bucket/a")
    with pytest.raises(JobFault, match=r"HTTP status 501 without an S3 error; .*check the address"):
        store.write(f"s3+{web.url}/bucket/b", [bytes(17 * MIB)])


def test_tls_is_checked_with_the_operators_own_authority_too(new_minio: NewMinio, authority: Path) -> None:
    minio = new_minio(authority / "certs")
    section = S3Section(ca_file=str(authority / "ca.pem"))
    minio.client(ca_file=str(authority / "ca.pem")).ensure_bucket("lab")
    store, uri = access_to(section).by(keys_of(minio)), named(minio, "lab")
    store.write(uri, [b"content"])
    assert read(store, uri) == b"content"
    with pytest.raises(JobFault, match="no secure connection"):
        store.stat(uri.replace("127.0.0.1", "localhost"))
    with pytest.raises(StoreUnavailable, match=r"no secure connection .*set \[s3\] ca_file"):
        access_to().by(keys_of(minio)).stat(uri)


# --- many messages ----------------------------------------------------------------------------------------------------


def test_many_messages_do_not_pile_up_connections(minio: Minio, bucket: str) -> None:
    opened_to_all(minio, bucket)
    access_to().by(keys_of(minio)).write(named(minio, bucket), [b"content"])
    with Proxy(minio.port) as proxy:
        access, uri = access_to(), f"s3+http://127.0.0.1:{proxy.port}/{bucket}/a"
        for number in range(50):
            assert read(access.by(Access(access_key=f"key{number}", secret_key="s")), uri) == b"content"
        assert proxy.connections <= 2


def test_clients_that_were_not_used_for_long_are_forgotten() -> None:
    clients = BroughtClients(make_guarded_pool(), most=3)
    first = clients.of("http://host", Access(access_key="0", secret_key="s"))
    for number in range(9):
        clients.of("http://host", Access(access_key=f"{number}", secret_key="s"))
        assert clients.of("http://host", Access(access_key="0", secret_key="s")) is first
    assert len(clients) == 3


def test_many_threads_use_one_access(minio: Minio, bucket: str) -> None:
    access = access_to()

    def work(number: int) -> bytes:
        uri = named(minio, bucket, f"{number}")
        access.by(keys_of(minio)).write(uri, [f"{number}".encode()])
        return read(access.by(keys_of(minio)), uri)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(40))) == [f"{number}".encode() for number in range(40)]
