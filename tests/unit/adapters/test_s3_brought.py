from __future__ import annotations

import re
from typing import Any

import pytest
import urllib3
from agent.adapters.s3.artifacts import Place, place_of, server_at
from agent.adapters.s3.brought import LASTING, PASSING, BroughtArtifacts, BroughtClients, judged, named
from agent.adapters.s3.errors import REMEDIES, S3Failure, failure
from agent.errors import InvalidInput, JobFault, StoreUnavailable
from agent.model.cargo import Access
from minio.error import S3Error
from urllib3 import HTTPResponse

WEST, EAST = "s3.us-west-2.amazonaws.com", "s3.us-east-1.amazonaws.com"
KEYS = Access(access_key="key", secret_key="secret")


class Asked(urllib3.PoolManager):
    """Connects to nobody: keeps what is asked, and answers with what is put into `answers`, else with 200."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.regions: list[str | None] = []
        self.answers: list[HTTPResponse] = []

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, redirect: bool = True, **options: Any
    ) -> urllib3.BaseHTTPResponse:
        self.urls.append(f"{method} {url}")
        scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/", options["headers"].get("authorization", ""))
        self.regions.append(scope[1] if scope else None)
        return self.answers.pop(0) if self.answers else HTTPResponse(headers={"Content-Length": "7"}, status=200)


def asked(uri: str, access: Access = KEYS, *answers: HTTPResponse) -> Asked:
    """Return what is asked for the size of an object."""
    pool = Asked()
    pool.answers = list(answers)
    store = BroughtArtifacts(BroughtClients(pool), ["s3+http://", "s3+https://"], access)
    assert store.stat(uri) is not None
    return pool


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("s3+http://minio.lab:9000/bucket/a/b", Place("bucket", "a/b", "http://minio.lab:9000")),
        ("s3+https://10.0.0.1/bucket/n%C3%A4me%20%3F", Place("bucket", "näme ?", "https://10.0.0.1")),
        ("s3+https://MINIO.lab:443/bucket/a", Place("bucket", "a", "https://minio.lab")),
        ("s3+http://[::1]:9000/my.bucket/a", Place("my.bucket", "a", "http://[::1]:9000")),
    ],
)
def test_a_uri_that_names_a_server_has_the_bucket_in_its_path(uri: str, place: Place) -> None:
    assert place_of(uri) == place


@pytest.mark.parametrize(
    "uri",
    [
        *(
            "s3+http://host",
            "s3+http://host/",
            "s3+http://host/bucket",
            "s3+http://host/bucket/",
            "s3+ftp://h/bucket/a",
        ),
        *("s3+http://host/bu%2Fcket/../a", "s3+http://h%6Fst/bucket/a", "s3+http://u:p@host/bucket/a"),
        *(
            "s3+http://host:1:2/bucket/a",
            "s3+http://host/bucket/a?uploads",
            "s3+http://host/%00%00/a",
            "s3+http://[/bucket/a",
        ),
    ],
)
def test_a_uri_that_names_no_object_on_a_server_is_refused(uri: str) -> None:
    with pytest.raises(InvalidInput):
        place_of(uri)


def test_an_address_with_a_user_is_no_server() -> None:
    with pytest.raises(InvalidInput) as caught:
        server_at("http", "me:hunter2@host")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("server", "endpoint", "region"),
    [
        ("https://s3.amazonaws.com", "https://s3.amazonaws.com", None),
        ("https://s3-us-west-2.amazonaws.com", "https://s3.us-west-2.amazonaws.com", "us-west-2"),
        ("https://s3.eu-central-1.amazonaws.com", "https://s3.eu-central-1.amazonaws.com", "eu-central-1"),
        ("https://s3-us-gov-west-1.amazonaws.com", "https://s3.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        (
            "https://s3.dualstack.us-east-2.amazonaws.com",
            "https://s3.dualstack.us-east-2.amazonaws.com",
            "us-east-2",
        ),
        ("https://s3.cn-north-1.amazonaws.com.cn", "https://s3.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("http://minio.lab:9000", "http://minio.lab:9000", None),
        ("http://s3-us-west-2.amazonaws.com.evil.example", "http://s3-us-west-2.amazonaws.com.evil.example", None),
    ],
)
def test_the_name_of_a_server_of_aws_has_its_region(server: str, endpoint: str, region: str | None) -> None:
    assert named(server) == (endpoint, region)


@pytest.mark.parametrize(
    ("uri", "access_region", "url", "region"),
    [
        ("s3+https://s3-us-west-2.amazonaws.com/b-1/k/a", None, f"https://b-1.{WEST}/k/a", "us-west-2"),
        ("s3+https://s3-us-west-2.amazonaws.com/b-1/a", "eu-west-1", f"https://b-1.{WEST}/a", "us-west-2"),
        ("s3+https://s3.amazonaws.com/b-1/a", "us-west-2", f"https://b-1.{WEST}/a", "us-west-2"),
        ("s3+https://s3.amazonaws.com/b-1/a", None, f"https://b-1.{EAST}/a", "us-east-1"),
        ("s3+https://s3.amazonaws.com/b.1/a", None, f"https://{EAST}/b.1/a", "us-east-1"),
        ("s3+http://minio.lab:9000/b-1/a", None, "http://minio.lab:9000/b-1/a", "us-east-1"),
        ("s3+http://minio.lab:9000/b-1/a", "lab", "http://minio.lab:9000/b-1/a", "lab"),
        ("s3+https://minio.lab/b-1/a%20b", None, "https://minio.lab/b-1/a%20b", "us-east-1"),
    ],
)
def test_aws_has_the_bucket_in_the_host_name_and_all_others_in_the_path(
    uri: str, access_region: str | None, url: str, region: str
) -> None:
    pool = asked(uri, Access(access_key="key", secret_key="secret", region=access_region))
    assert pool.urls == [f"HEAD {url}"]
    assert pool.regions == [region]


def test_without_keys_nothing_is_signed() -> None:
    for access in (Access(), Access(access_key="", secret_key=""), Access(region="eu-west-1"), Access(user="u")):
        assert asked("s3+https://minio.lab/bucket/a", access).regions == [None]


def test_a_bucket_in_another_region_is_asked_there_from_then_on() -> None:
    moved = HTTPResponse(status=301, headers={"x-amz-bucket-region": "eu-west-3"})
    pool = Asked()
    pool.answers = [moved]
    store = BroughtArtifacts(BroughtClients(pool), ["s3+https://s3.amazonaws.com"], KEYS)
    for _ in range(2):
        assert store.stat("s3+https://s3.amazonaws.com/bucket/a") is not None
    assert pool.urls == [
        "HEAD https://bucket.s3.us-east-1.amazonaws.com/a",
        *["HEAD https://bucket.s3.eu-west-3.amazonaws.com/a"] * 2,
    ]
    assert pool.regions == ["us-east-1", "eu-west-3", "eu-west-3"]


def test_a_server_cannot_choose_the_host_by_the_name_of_a_region() -> None:
    for region in ("x.evil.example/", "evil.example#", "a" * 33, ""):
        pool = Asked()
        pool.answers = [HTTPResponse(status=301, headers={"x-amz-bucket-region": region})]
        store = BroughtArtifacts(BroughtClients(pool), ["s3+https://"], KEYS)
        with pytest.raises(JobFault, match=r"PermanentRedirect.*name the bucket's region"):
            store.stat("s3+https://s3.amazonaws.com/bucket/a")
        assert pool.urls == ["HEAD https://bucket.s3.us-east-1.amazonaws.com/a"]


def test_a_host_of_aws_that_serves_no_objects_is_the_fault_of_the_job() -> None:
    store = BroughtArtifacts(BroughtClients(Asked()), ["s3+https://"], KEYS)
    with pytest.raises(JobFault, match="invalid Amazon AWS host"):
        store.stat("s3+https://dynamodb.amazonaws.com/bucket/a")


# --- which errors stay ------------------------------------------------------------------------------------------------


def refused(code: str, status: int) -> S3Failure:
    return failure("s3://b/k", S3Error(HTTPResponse(status=status), code, "Words.", "/b/k", None, None))


@pytest.mark.parametrize("code", sorted(LASTING))
def test_what_stays_says_what_the_submitter_can_do(code: str) -> None:
    found = judged(refused(code, 400))
    assert isinstance(found, JobFault)
    assert str(found) == f"s3://b/k: {code}: Words; {LASTING[code]}"
    assert "[s3]" not in str(found)  # the operator's settings are not at fault


@pytest.mark.parametrize("code", sorted(PASSING))
@pytest.mark.parametrize("status", [400, 403, 507])
def test_what_passes_is_no_fault_of_the_job(code: str, status: int) -> None:
    assert isinstance(judged(refused(code, status)), StoreUnavailable)


@pytest.mark.parametrize(("status", "stays"), [(400, True), (403, True), (405, True), (500, False), (503, False)])
def test_an_unknown_word_is_judged_by_its_status(status: int, stays: bool) -> None:
    assert isinstance(judged(refused("Unheard", status)), JobFault) is stays


def test_each_code_with_a_remedy_is_decided_upon() -> None:
    """A code that is known to pass, or whose status says so, is not in LASTING; each other one is."""
    server = {"SlowDown", "InternalError", "ServiceUnavailable", "XMinioServerNotInitialized"}
    assert set(REMEDIES) - set(LASTING) - PASSING == server


def test_what_a_server_says_is_cut_and_masked() -> None:
    told = S3Error(HTTPResponse(status=403), "AccessDenied", "password=hunter2 " + "x" * 5000, "/", None, None)
    message = str(failure("s3://b/k", told))
    assert "hunter2" not in message
    assert len(message) < 600
