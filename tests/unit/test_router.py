from __future__ import annotations

import io
from collections.abc import Iterable
from typing import BinaryIO

import pytest
from agent.errors import ArtifactMissing, InvalidInput
from agent.ports import ArtifactInfo
from agent.transfer.router import Router
from agent.transfer.stream import CHUNK

from tests.fakes import FakeArtifacts


class SchemeArtifacts:
    """An ArtifactStore of another scheme, over one in memory, that counts its own copies."""

    def __init__(self, scheme: str) -> None:
        self.copies = 0
        self._scheme = scheme
        self._store = FakeArtifacts()

    def stat(self, uri: str) -> ArtifactInfo | None:
        return self._store.stat(self._inner(uri))

    def open(self, uri: str) -> BinaryIO:
        return self._store.open(self._inner(uri))

    def write(self, uri: str, chunks: Iterable[bytes]) -> None:
        self._store.write(self._inner(uri), chunks)

    def copy(self, source: str, target: str) -> None:
        self.copies += 1
        self._store.copy(self._inner(source), self._inner(target))

    def _inner(self, uri: str) -> str:
        assert uri.startswith(self._scheme + ":")
        return "mem" + uri.removeprefix(self._scheme)


@pytest.fixture
def one() -> SchemeArtifacts:
    return SchemeArtifacts("one")


@pytest.fixture
def router(one: SchemeArtifacts) -> Router:
    return Router({"one": one, "two": SchemeArtifacts("two")})


def content(router: Router, uri: str) -> bytes:
    with router.open(uri) as stream:
        return stream.read()


def test_the_scheme_decides_which_store_is_meant(router: Router, one: SchemeArtifacts) -> None:
    router.write("one://a", [b"in one"])
    router.write("two://a", [b"in ", b"two"])
    assert content(router, "one://a") == b"in one"
    assert content(router, "two://a") == b"in two"
    assert router.stat("two://a") == ArtifactInfo(6)
    assert one.stat("one://a") == ArtifactInfo(6)
    assert router.stat("one://b") is None


def test_a_copy_within_a_store_is_left_to_the_store(router: Router, one: SchemeArtifacts) -> None:
    router.write("one://a", [b"content"])
    router.copy("one://a", "one://b")
    assert (one.copies, content(router, "one://b")) == (1, b"content")


def test_a_copy_between_stores_goes_through_this_host(router: Router, one: SchemeArtifacts) -> None:
    router.write("one://a", [b"x" * CHUNK, b"y"])
    router.copy("one://a", "two://b")
    assert content(router, "two://b") == b"x" * CHUNK + b"y"
    assert one.copies == 0


def test_a_copy_of_nothing_says_so_and_leaves_nothing(router: Router) -> None:
    with pytest.raises(ArtifactMissing):
        router.copy("one://a", "two://b")
    assert router.stat("two://b") is None


@pytest.mark.parametrize("uri", ["s3://bucket/a", "/srv/a", "", "ONE://a"])
def test_a_scheme_that_nobody_serves_is_refused_with_those_there_are(router: Router, uri: str) -> None:
    router.write("one://a", [b""])
    for call in (
        lambda: router.stat(uri),
        lambda: router.open(uri),
        lambda: router.write(uri, [b""]),
        lambda: router.copy(uri, "one://a"),
        lambda: router.copy("one://a", uri),
    ):
        with pytest.raises(InvalidInput, match=r"no store for .*known: one, two"):
            call()


def test_a_stream_of_another_store_is_closed_after_the_copy() -> None:
    opened: list[BinaryIO] = []

    class Remembering(SchemeArtifacts):
        def open(self, uri: str) -> BinaryIO:
            opened.append(io.BytesIO(b"content"))
            return opened[-1]

    Router({"one": Remembering("one"), "two": SchemeArtifacts("two")}).copy("one://a", "two://a")
    assert [stream.closed for stream in opened] == [True]
