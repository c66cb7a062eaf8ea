from __future__ import annotations

import time
from typing import Any

import pytest
from agent.errors import Dropped
from agent.studioml.fields import Fields
from agent.studioml.places import Servers, is_archive, place_of, region_of, servers_of

HTTPS = Servers({"minio.lab:9000": "https", "other.lab": "http"}, "minio.lab:9000")


@pytest.mark.parametrize(
    ("url", "bucket", "uri"),
    [
        ("s3://127.0.0.1:5185/b1/a/k.tar", "b1", "s3+http://127.0.0.1:5185/b1/a/k.tar"),
        ("s3://127.0.0.1/b1/k", None, "s3+http://127.0.0.1/b1/k"),
        ("s3://[::1]:9000/b1/k", None, "s3+http://[::1]:9000/b1/k"),
        ("s3://minio.lab:9000/b1/k", None, "s3+https://minio.lab:9000/b1/k"),
        ("s3://Minio.Lab:9000/b1/K", "b1", "s3+https://minio.lab:9000/b1/K"),
        ("s3://other.lab/b1/k", "b1", "s3+http://other.lab/b1/k"),
        ("s3://unknown/b1/k", "b1", "s3+http://unknown/b1/k"),
        ("s3://example.com/b1/k", None, "s3+http://example.com/b1/k"),
        (
            "s3://s3-us-west-2.amazonaws.com/ext/d/data.tar.gz",
            "ext",
            "s3+https://s3-us-west-2.amazonaws.com/ext/d/data.tar.gz",
        ),
        ("s3://s3.amazonaws.com/ext/k", None, "s3+https://s3.amazonaws.com/ext/k"),
        ("s3://b1/a/k", "b1", "s3+https://minio.lab:9000/b1/a/k"),
        ("s3://b1/a/k", None, "s3+https://minio.lab:9000/b1/a/k"),
        ("s3://b1/b1/k", "b1", "s3+https://minio.lab:9000/b1/b1/k"),
        ("s3://b1.s3.us-west-2.amazonaws.com/a/k", None, "s3+https://s3.us-west-2.amazonaws.com/b1/a/k"),
        ("s3://b1.s3-eu-west-1.amazonaws.com/a/k", "b1", "s3+https://s3-eu-west-1.amazonaws.com/b1/a/k"),
        ("s3://b1.x.s3.amazonaws.com/a/k", None, "s3+https://s3.amazonaws.com/b1.x/a/k"),
        ("s3://b1.minio.lab:9000/a/k", "b1", "s3+https://minio.lab:9000/b1/a/k"),
        ("s3://h:1/b1/a b/é%2F?#+.tar", "b1", "s3+http://h:1/b1/a%20b/%C3%A9%252F%3F%23%2B.tar"),
        ("S3://h:1/b1/k", None, "s3+http://h:1/b1/k"),
        ("gs://b1/a/k.tgz", "nonsense", "gs://b1/a/k.tgz"),
        ("gs://b1/a b", None, "gs://b1/a%20b"),
        ("file://tmp/store/k.tar", None, "file:///tmp/store/k.tar"),
        ("file:///tmp/store/k.tar", None, "file:///tmp/store/k.tar"),
        ("file://localhost/tmp/k", None, "file:///tmp/k"),
        ("file:///tmp/a b?", None, "file:///tmp/a%20b%3F"),
        ("http://h:8080/a%20b/c d.csv?x=1&y=%2F#part", None, "http://h:8080/a%20b/c%20d.csv?x=1&y=%2F"),
        ("https://user:pw@Example.com/a.csv", None, "https://example.com/a.csv"),
    ],
)
def test_urls_of_clients_become_uris(url: str, bucket: str | None, uri: str) -> None:
    place = place_of(url, bucket, None, HTTPS)
    assert place is not None
    assert place.uri == uri


@pytest.mark.parametrize("url", ["ftp://h/b/x.tar", "dockerhub://a", "shub://a/b", "hdfs://a/b", "s3+http://h/b/k"])
def test_other_schemes_are_unknown(url: str) -> None:
    assert place_of(url, None, None, HTTPS) is None


@pytest.mark.parametrize(
    "url",
    [
        *("", "x", "/srv/x", "s3:", "s3://", "s3://h:1", "s3://h:1/", "s3://h:1/b1", "s3://h:1/b1/", "s3://h:1/b1/dir/"),
        *("s3://h:1//k", "s3://h:1/b1/../b2/k", "s3://h:1/b1/./k", "s3://h:1/b1/.."),
        *("s3://h:1/b1/a\\b", "s3://h:1/b1/a\nb"),
        *("s3://u:p@h:1/b1/k", "s3://h:x/b1/k", "s3://-h:1/b1/k", "s3://h:1/b 1/k", "s3://[x]:1/b1/k"),
        f"s3://{'h' * 300}:1/b1/k",
        *("gs://", "gs://b1", "gs://b1/", "gs:///k", "gs://b1/../k"),
        *("file://", "file:///", "file:///tmp/", "file:///tmp/../etc/passwd", "file://../etc/passwd"),
        *("http://", "http://h", "http://h/", "http:///x", "http://h h/x", "http://[/x"),
        *("http://h/a%2Fb", "http://h/%2e%2e/x"),
        f"http://h/{'x' * 300}",
    ],
)  # fmt: skip
def test_urls_that_say_no_place_are_refused(url: str) -> None:
    with pytest.raises(Dropped):
        place_of(url, None, None, HTTPS)


def test_without_any_server_buckets_are_amazons() -> None:
    place = place_of("s3://b1/k", None, None, Servers())
    assert place is not None
    assert (place.uri, place.named) == ("s3+https://s3.amazonaws.com/b1/k", False)


@pytest.mark.parametrize(
    ("url", "key", "root"),
    [
        ("s3://h:1/b1/a/k.tar", "a/k.tar", "s3+http://h:1/b1/"),
        ("gs://b1/a/k.tar", None, "gs://b1/"),
        ("file://srv/art/a/k.tar", "a/k.tar", "file:///srv/art/"),
        ("file://srv/art/a/k.tar", None, None),
        ("http://h/a/k.tar", "k.tar", None),
    ],
)
def test_a_place_knows_its_bucket(url: str, key: str | None, root: str | None) -> None:
    place = place_of(url, None, key, Servers())
    assert place is not None
    assert place.root == root


@pytest.mark.parametrize(
    ("name", "yes"),
    [
        *((name, True) for name in ("a.tar", "a.tar.gz", "a.TAR.bz2", "a.tgz", "a.tbz", "a.tbz2", "d.x/a.tar.zst")),
        *((name, False) for name in ("a.csv", "tar", "a.tar.d/x", "a.tarx", "a.zip", "", "a.gz")),
    ],
)
def test_archives_are_known_by_their_names(name: str, yes: bool) -> None:
    assert is_archive(name) == yes


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("s3-us-west-2.amazonaws.com", "us-west-2"),
        ("s3.eu-central-1.amazonaws.com", "eu-central-1"),
        ("s3.dualstack.us-gov-west-1.amazonaws.com:443", "us-gov-west-1"),
        ("s3.amazonaws.com", None),
        ("minio.lab:9000", None),
    ],
)
def test_a_host_of_amazon_says_its_region(host: str, region: str | None) -> None:
    assert region_of(host) == region


@pytest.mark.parametrize(
    ("storage", "schemes", "default"),
    [
        ({"type": "s3", "endpoint": "https://a:1"}, {"a:1": "https"}, "a:1"),
        ({"type": "s3", "endpoint": "s3-us-west-2.amazonaws.com"}, {}, "s3-us-west-2.amazonaws.com"),
        ({"type": "gcloud", "endpoint": "https://a"}, {"a": "https"}, None),
        ({"type": "local", "endpoint": "/srv/store"}, {}, None),
        ({"type": "s3", "endpoint": "ftp://a"}, {}, None),
        ({"type": "s3", "endpoint": 5}, {}, None),
        ({}, {}, None),
        ("s3", {}, None),
    ],
)
def test_servers_are_those_of_the_configuration(storage: Any, schemes: dict[str, str], default: str | None) -> None:
    assert servers_of(Fields("config", {"storage": storage})) == Servers(schemes, default)


def test_hostile_hosts_are_read_in_a_moment() -> None:
    began = time.monotonic()
    for host in ("s3." * 1_000_000, "s3-" * 1_000_000, "a." * 1_000_000, "-" * 3_000_000):
        for url in (f"s3://{host}/b1/k", f"s3://b.{host}amazonaws.com/k", f"http://{host}/k", f"gs://{host}/k"):
            with pytest.raises(Dropped):
                place_of(url, None, None, HTTPS)
    assert time.monotonic() - began < 10
