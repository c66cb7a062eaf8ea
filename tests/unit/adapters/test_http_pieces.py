from __future__ import annotations

import pytest
from agent.adapters.http.addresses import is_forbidden
from agent.adapters.http.answers import DENIED, MEANINGS, MISSING, refusal
from agent.adapters.http.transport import TRANSPORT, Failure, failure, length_of
from agent.adapters.http.urls import is_address, origin, redirected
from agent.errors import ArtifactMissing, JobFault
from urllib3 import HTTPResponse


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.0.1", "169.254.169.254", "169.254.170.2", "fe80::1", "fe80::1%eth0", "febf::1", "fd00:ec2::254"),
        *("fd00:ec2::23", "fd20:ce::254", "::ffff:169.254.169.254", "64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1"),
        *("100.100.100.200", "168.63.129.16", "192.0.0.192"),
    ],
)
def test_addresses_of_this_machine_alone_are_forbidden(address: str) -> None:
    assert is_forbidden(address)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "169.253.0.1", "fec0::1", "fd00:ec3::1", "8.8.8.8", "2001:db8::1"],
)
def test_addresses_of_a_lab_or_the_internet_are_not(address: str) -> None:
    assert not is_forbidden(address)


@pytest.mark.parametrize("status", sorted({*MEANINGS, 400, 402, 418, 302, 599, 700}))
@pytest.mark.parametrize("brought", [True, False])
def test_each_status_is_judged_the_same_whose_rights_it_ever_was(status: int, brought: bool) -> None:
    found = refusal("http://host/a", status, brought=brought)
    assert str(found).startswith(f"http://host/a: HTTP status {status}")
    assert isinstance(found, JobFault) or (isinstance(found, Failure) and found.status == status)
    assert isinstance(found, JobFault) is (status < 500 and status not in (408, 425, 429)) or status in (501, 505)


@pytest.mark.parametrize("status", DENIED)
def test_a_denial_stays_only_for_the_rights_of_a_job(status: int) -> None:
    assert isinstance(refusal("http://host/a", status, brought=True), JobFault)
    assert isinstance(refusal("http://host/a", status, brought=False), Failure)


@pytest.mark.parametrize("status", MISSING)
def test_what_is_not_there_is_missing(status: int) -> None:
    assert isinstance(refusal("http://host/a", status, brought=True), ArtifactMissing)


@pytest.mark.parametrize("kind", [kind for kind, _, _ in TRANSPORT], ids=lambda kind: kind.__name__)
def test_each_kind_of_trouble_on_the_way_is_one_sentence(kind: type[Exception]) -> None:
    error = kind.__new__(kind)
    Exception.__init__(error, "words")
    assert str(failure("http://host/a", error)).startswith("http://host/a: ")


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("b", "http://host/data/b"),
        ("/data/c?x=a%2Fb", "http://host/data/c?x=a%2Fb"),
        ("https://host/data/b#part", "https://host/data/b"),
        ("//host/data/b", "http://host/data/b"),
    ],
)
def test_a_redirection_leads_from_where_it_stood(url: str, target: str) -> None:
    assert redirected("http://host/data/a", url, ["http://host/data", "https://host/data"]) == target


@pytest.mark.parametrize(
    "url",
    [
        *("/other", "../data2/a", "http://host/data/%2e%2e/a", "http://other/data/a", "http://host:8080/data/a"),
        *("http://u:hunter2@host/data/a", "ftp://host/data/a", "http://host\\@other/data/a", "/data/a b", "http://[/"),
    ],
)
def test_a_redirection_to_elsewhere_is_the_fault_of_the_job(url: str) -> None:
    with pytest.raises(JobFault, match=r"http://host/data/a: the server points to") as caught:
        redirected("http://host/data/a", url, ["http://host/data"])
    assert "hunter2" not in str(caught.value)


def test_no_redirection_leaves_tls() -> None:
    with pytest.raises(JobFault, match="not encrypted any more"):
        redirected("https://host/a", "http://host/a", ["http://host", "https://host"])


@pytest.mark.parametrize("url", ["http://h/a", "https://h:1/a?b=c%2Fd", "http://[::1]:8080/a"])
def test_a_web_address_is_one(url: str) -> None:
    assert is_address(url)


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin("http://Host/a") == origin("http://host:80/b?c") == ("http", "host", 80)
    assert origin("https://host/a") != origin("http://host/a")
    assert origin("http://host:8080/a") != origin("http://host/a")


@pytest.mark.parametrize(
    ("headers", "size"),
    [
        ({"Content-Length": "7"}, 7),
        ({"Content-Length": "7", "Transfer-Encoding": "chunked"}, None),
        ({"Content-Length": "-7"}, None),
        ({"Content-Length": "7, 7"}, None),
        ({"Content-Length": "\u0667"}, None),
        ({"Content-Length": "9" * 20}, None),
        ({}, None),
    ],
)
def test_a_length_counts_that_is_one(headers: dict[str, str], size: int | None) -> None:
    assert length_of(HTTPResponse(headers=headers)) == size
