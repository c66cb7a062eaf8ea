from __future__ import annotations

from typing import Any

import pytest
from agent.model.cargo import Access

from tests.unit.studioml.requests import HOST, changed, origin, read, refusal, table

STORE = f"s3+http://{HOST}/studioml-artifacts"


def with_artifact(tag: str, **fields: Any) -> dict[str, Any]:
    request = table()
    request["experiment"]["artifacts"][tag] = fields
    return request


@pytest.mark.parametrize("tag", ["", ".", "..", "a/b", "../x", "a b", "é", "a\0", "x" * 300, "a\n"])
def test_a_tag_is_the_name_of_a_directory(tag: str) -> None:
    assert "is no name of an artifact" in str(refusal(with_artifact(tag, qualified="http://h/a.csv")))


@pytest.mark.parametrize("tag", ["...", "-x", "a.b-c_D9", "x" * 250])
def test_any_plain_tag_will_do(tag: str) -> None:
    job = read(with_artifact(tag, qualified="http://h/a.csv")).job
    assert job.inputs[-1].path.endswith(f"/{tag}/a.csv")


@pytest.mark.parametrize(
    ("url", "unpack", "path", "unpacked"),
    [
        ("http://h/a.tar", None, "x", True),
        ("http://h/a.tar", ..., "x", True),
        ("http://h/a.tar.gz?sig=1", ..., "x", True),
        ("http://h/a.csv", None, "x/a.csv", False),
        ("http://h/a.csv", True, "x", True),
        ("http://h/a.tar", False, "x/a.tar", False),
        ("http://h/a%20b.csv", False, "x/a b.csv", False),
        ("gs://b1/d/a 'b'.bin", ..., "x/a 'b'.bin", False),
    ],
)
def test_an_archive_is_unpacked_unless_the_message_says_otherwise(
    url: str, unpack: Any, path: str, unpacked: bool
) -> None:
    fields = {"url": url, **({} if unpack is ... else {"unpack": unpack})}
    item = read(with_artifact("x", **fields)).job.inputs[-1]
    assert (item.path.split("/", 2)[2], item.unpack) == (path, unpacked)


@pytest.mark.parametrize("fields", [{}, {"qualified": ""}, {"qualified": None, "url": ""}, {"local": "/x", "key": "k"}])
def test_an_artifact_without_a_place_is_none(fields: dict[str, Any]) -> None:
    decoded = read(with_artifact("x", mutable=True, **fields))
    assert "x" not in origin(decoded.cargo).artifacts
    assert not any(item.path.endswith("/x") for item in decoded.job.inputs)


def test_a_mutable_artifact_that_cannot_be_reached_is_left_alone() -> None:
    decoded = read(with_artifact("x", qualified="ftp://h/b/x.tar", mutable=True))
    assert origin(decoded.cargo).artifacts["x"].uri is None
    assert not any("/x" in output.path for output in decoded.job.outputs)
    assert "ftp" in str(refusal(with_artifact("x", qualified="ftp://h/b/x.tar")))
    assert "dockerhub" in str(refusal(with_artifact("x", qualified="dockerhub://python:3")))


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("x.tar", "none"),
        ("x.tar.gz", "gzip"),
        ("x.tgz", "gzip"),
        ("x.tar.bz2", "bzip2"),
        ("x.tbz2", "bzip2"),
        ("x.tbz", "bzip2"),
        ("x.tar.xz", "xz"),
        ("x.TAR.GZ", "gzip"),
        ("x.gz", "none"),
        ("x", "none"),
    ],
)
def test_what_is_uploaded_is_compressed_as_its_name_promises(name: str, packed: str) -> None:
    decoded = read(with_artifact("x", qualified=f"gs://b1/{name}", mutable=True))
    assert next(how for path, how in decoded.cargo.direct.items() if path.endswith("/x")) == packed


def test_artifacts_of_the_runner_are_neither_fetched_nor_uploaded() -> None:
    request = table()
    place = request["experiment"]["artifacts"]["output"]
    for tag in ("_results", "_status"):
        request["experiment"]["artifacts"][tag] = {
            **place,
            "qualified": place["qualified"].replace("output.tar", f"{tag}.tar"),
        }
    decoded = read(request)
    key = request["experiment"]["key"]
    touched = [item.path for item in decoded.job.inputs] + [output.path for output in decoded.job.outputs]
    assert not any(path.endswith(("/_results", "/_status", "/_metadata", "/_singularity")) for path in touched)
    told = origin(decoded.cargo)
    assert told.results_uri == f"{STORE}/experiments/{key}/_results.tar"
    assert told.status_uri == f"{STORE}/experiments/{key}/_status.tar"
    assert told.metadata_uri == f"{STORE}/metadata/"
    keys = Access(access_key="AKIAEDGE", secret_key="secretEDGE", region="us-west-2")
    assert [decoded.cargo.access[uri] for uri in (told.results_uri, told.status_uri, told.metadata_uri)] == [keys] * 3


def test_the_log_goes_into_the_output_where_there_is_one() -> None:
    assert (read(table()).cargo.log or "").endswith("/output/output")
    assert read(changed("experiment.artifacts.output", ...)).cargo.log is None
    assert read(changed("experiment.artifacts.output.mutable", False)).cargo.log is None


@pytest.mark.parametrize(
    ("url", "image"),
    [
        ("dockerhub://python:3.11", "docker://python:3.11"),
        ("dockerhub://tensorflow/tensorflow@sha256:abc", "docker://tensorflow/tensorflow@sha256:abc"),
        ("docker://ghcr.io/a/b:1", "docker://ghcr.io/a/b:1"),
        ("shub://sentient-singularity/a:b", "shub://sentient-singularity/a:b"),
        ("https://example.com/i/a.simg", "https://example.com/i/a.simg"),
        ("gs://b1/a.sif", "gs://b1/a.sif"),
        ("file://srv/images/a.sif", "file:///srv/images/a.sif"),
        ("gs://b1/{arch}.sif", "gs://b1/%7Barch%7D.sif"),
    ],
)
def test_an_image_is_where_it_is(url: str, image: str) -> None:
    decoded = read(with_artifact("_singularity", qualified=url))
    assert decoded.job.image == image
    assert decoded.cargo.venv is None


@pytest.mark.parametrize(
    "url", ["dockerhub://", "dockerhub://../x", "docker://a b", "shub://{arch}", "ftp://h/a.sif", "a.sif"]
)
def test_an_image_that_is_nowhere_is_refused(url: str) -> None:
    assert "_singularity" in str(refusal(with_artifact("_singularity", qualified=url)))


@pytest.mark.parametrize(
    "artifacts", [None, {}, ..., {"workspace": {}}, {"workspace": None}, {"modeldir": {"url": "http://h/a.tar"}}]
)
def test_something_to_run_must_be_there(artifacts: Any) -> None:
    assert "nothing to run" in str(refusal(changed("experiment.artifacts", artifacts)))
