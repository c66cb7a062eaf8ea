from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from agent.adapters.s3.artifacts import Place, place_of
from agent.adapters.s3.client import connect
from agent.adapters.s3.multipart import split
from agent.config import load_config
from agent.config.places import Bucket, bucket_of
from agent.config.s3 import S3Section
from agent.errors import ConfigError, InvalidInput, StoreUnavailable

QUEUE = '[[queues]]\nname = "lab"\nurl = "s3://bucket/a%20b/"\n'


def load(tmp_path: Path, text: str) -> object:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return load_config(file, {}, {}).config


def test_a_queue_in_s3_has_its_records_and_results_below_its_url(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(QUEUE)
    queue = load_config(file, {}, {}).config.queue("lab")
    assert queue.records_root == Bucket("bucket", "a b/queue")
    assert queue.results_root.as_uri() == "s3://bucket/a%20b/results"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[s3]\nendpoint = "minio:9000"', ':2: s3.endpoint = "minio:9000" (http:// or https://'),
        ('[s3]\nendpoint = "http://minio/path/x"', ":2: s3.endpoint = "),
        ('[s3]\nregion = "eu central"', ':2: s3.region = "eu central" (a name such as'),
        ('[s3]\nstyle = "host"', ":2: s3.style = 'host': Invalid enum value"),
        ('[s3]\nca_file = "ca.pem"', ':2: s3.ca_file = "ca.pem" (an absolute path)'),
        ('[s3]\nca = "/etc/ca.pem"', ":2: s3.ca holds no certificate (the text of a PEM file"),
        ('[s3]\naccess_key = "me"', ":2: s3.access_key: there is no secret key"),
        ('[s3]\nsecret_key = "hunter2"', ":2: s3.secret_key: there is no s3.access_key"),
        ('[s3]\nsession_token = "hunter2"', ":2: s3.session_token: there is no s3.access_key"),
        (QUEUE.replace("bucket", "x"), ':3: queues[0].url = "s3://x/a%20b/": '),
        (QUEUE + 'results = "s3://bucket/a%20b/queue/below"', ":4: queues[0].results = "),
        (QUEUE.replace("a%20b", "a/../b"), ":3: queues[0].url = "),
        (QUEUE.replace("a%20b", "x" * 101), "has too long a prefix (at most 100 bytes)"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["s3://", "s3:/b", "s3://b", "s3://user@bucket", "s3://bucket?x", "s3://bucket/.hidden"]
)
def test_what_names_no_bucket_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        bucket_of(url)


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("s3://bucket/a/b.csv", Place("bucket", "a/b.csv")),
        ("s3://bucket/n%C3%A4me%20%3F%23%25", Place("bucket", "näme ?#%")),
    ],
)
def test_an_s3_uri_names_a_bucket_and_the_decoded_key(uri: str, place: Place) -> None:
    assert place_of(uri) == place


@pytest.mark.parametrize(
    "uri",
    [
        *("s3://bucket", "s3://bucket/", "s3:///a", "http://b/a", "s3://b/a//c", "s3://b/../c", "s3://b/%2e%2e/c"),
        *("s3://b/a?versionId=1", "s3://b/a#b", "s3://b/a?", "s3://b/%FF", "s3://b/%00"),
    ],
)
def test_what_is_no_object_is_refused(uri: str) -> None:
    with pytest.raises(InvalidInput):
        place_of(uri)


def test_a_certificate_that_is_not_there_is_named() -> None:
    with pytest.raises(StoreUnavailable, match=r"s3\.ca_file: there is no file /gone/ca.pem"):
        connect(S3Section(ca_file="/gone/ca.pem"), {})


def test_text_that_only_looks_like_a_certificate_is_named() -> None:
    with pytest.raises(StoreUnavailable, match=r"s3\.ca: it holds no certificate"):
        connect(S3Section(ca="-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"), {})


@pytest.mark.parametrize("chunks", [[], [b""], [b"abc"], [b"ab", b"", b"cdefg"], [b"abcdefghij"], [b"abc", b"def"]])
def test_splitting_keeps_every_byte_in_parts_of_one_size(chunks: list[bytes]) -> None:
    parts = list(split(chunks, 3))
    assert b"".join(parts) == b"".join(chunks)
    assert all(len(part) == 3 for part in parts[:-1])
    assert all(0 < len(part) <= 3 for part in parts)


def test_splitting_takes_no_more_than_it_needs() -> None:
    taken = []

    def source() -> Iterator[bytes]:
        for number in range(10):
            taken.append(number)
            yield b"abc"

    next(split(source(), 3))
    assert taken == [0]
