"""What docker:// and oras:// URIs refer to."""

from __future__ import annotations

import pytest
from agent.errors import InvalidInput
from agent.images.reference import Reference, parse_reference

DIGEST = "sha256:" + "0a" * 32

KNOWN = {
    "docker://ubuntu": Reference("docker.io", "library/ubuntu"),
    "docker://ubuntu:24.04": Reference("docker.io", "library/ubuntu", "24.04"),
    "docker://tensorflow/tensorflow:1.15.0-gpu": Reference("docker.io", "tensorflow/tensorflow", "1.15.0-gpu"),
    "docker://docker.io/ubuntu": Reference("docker.io", "library/ubuntu"),
    "docker://index.docker.io/a/b": Reference("docker.io", "a/b"),
    "docker://ghcr.io/team/tools/run:v1": Reference("ghcr.io", "team/tools/run", "v1"),
    "docker://localhost/a": Reference("localhost", "a"),
    "docker://127.0.0.1:5000/a:b": Reference("127.0.0.1:5000", "a", "b"),
    f"docker://ubuntu@{DIGEST}": Reference("docker.io", "library/ubuntu", "latest", DIGEST),
    "oras://ghcr.io/team/a.sif:1": Reference("ghcr.io", "team/a.sif", "1", scheme="oras"),
    f"oras://localhost:5000/a@{DIGEST}": Reference("localhost:5000", "a", "latest", DIGEST, "oras"),
    f"docker://nvcr.io/l4t/base:r36@{DIGEST}": Reference("nvcr.io", "l4t/base", "r36", DIGEST),
}


@pytest.mark.parametrize("uri", KNOWN)
def test_a_reference_is_read_as_docker_does(uri: str) -> None:
    assert parse_reference(uri) == KNOWN[uri]


@pytest.mark.parametrize(
    "uri",
    [
        *("docker://", "docker:ubuntu", "docker:///ubuntu", "shub://a/b", "docker://Ubuntu", "docker://a/../b"),
        *("docker://a//b", "docker://a/b/", "docker://a:", "docker://a@", "docker://a@sha256:12", "docker://a:b:c"),
        *("docker://user@host.org/a", "docker://a b", "docker://-x/--y", "docker://a?x=1", "docker://host.org:x/a"),
        *("docker://a%2fb", "docker://a\nb", "docker://a/b:tag@md5:00", "docker://a/b:" + "t" * 129),
    ],
)
def test_what_is_none_is_refused(uri: str) -> None:
    with pytest.raises(InvalidInput, match="no image of a registry"):
        parse_reference(uri)


def test_a_manifest_is_named_by_its_digest() -> None:
    assert parse_reference("docker://ubuntu:24.04").at(DIGEST) == f"docker://docker.io/library/ubuntu@{DIGEST}"
    assert parse_reference(f"docker://a/b:c@{DIGEST}").version == DIGEST
