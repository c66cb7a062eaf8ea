"""Large images over networks: only the beginning is read of one that is looked at, and a broken line costs little."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from agent.adapters.http import HttpArtifacts
from agent.adapters.http.pool import make_guarded_pool
from agent.adapters.images import RemoteImages
from agent.adapters.s3 import S3Artifacts
from agent.cache import Cache
from agent.errors import ArtifactMismatch
from agent.model.cargo import Access
from agent.model.job import Image
from agent.ports import ArtifactStore, ImageFacts

from tests.contract.web_server import WebServer
from tests.fakes import FakeAccess, FakeClock
from tests.proxy import Proxy
from tests.servers import Minio
from tests.siffile import Part, sif_bytes

LARGE = sif_bytes(Part("arm64", content=random.Random(6).randbytes(60_000_000)))
SHA256 = hashlib.sha256(LARGE).hexdigest()


class Line(NamedTuple):
    """A store behind a proxy, with LARGE at `uri`."""

    store: ArtifactStore
    uri: str
    proxy: Proxy


def web_line() -> Iterator[Line]:
    with WebServer() as server, Proxy(server.port) as proxy:
        server.files["/images/large.sif"] = LARGE
        base = f"http://127.0.0.1:{proxy.port}/images/"
        yield Line(HttpArtifacts(make_guarded_pool(), [base], Access()), f"{base}large.sif", proxy)


def s3_line(minio: Minio, bucket: str) -> Iterator[Line]:
    with Proxy(minio.port) as proxy:
        uri = f"s3://{bucket}/large.sif"
        S3Artifacts(minio.client(), [f"s3://{bucket}/"]).write(uri, [LARGE])
        store = S3Artifacts(minio.client(endpoint=f"http://127.0.0.1:{proxy.port}"), [f"s3://{bucket}/"])
        yield Line(store, uri, proxy)


@pytest.fixture(params=["web", "s3"])
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    if request.param == "web":
        yield from web_line()
    else:
        yield from s3_line(request.getfixturevalue("minio"), request.getfixturevalue("bucket"))


@pytest.fixture
def images(line: Line, tmp_path: Path) -> RemoteImages:
    cache = Cache(tmp_path / "cache", lambda: 1024**3, lambda: (), FakeClock())
    return RemoteImages(FakeAccess(line.store), cache)


def test_a_look_at_an_image_reads_its_beginning(line: Line, images: RemoteImages) -> None:
    """What was under way when the reader had enough counts, too: the buffers of three sockets."""
    assert images.facts(Image(line.uri)) == ImageFacts("arm64", len(LARGE))
    assert line.proxy.answered < len(LARGE) / 3


def test_a_download_goes_on_where_the_line_broke_and_is_verified(line: Line, images: RemoteImages) -> None:
    line.proxy.drop_after(40_000_000)
    assert images.fetch(Image(line.uri, SHA256)).read_bytes() == LARGE
    assert len(LARGE) <= line.proxy.answered < 1.6 * len(LARGE)
    line.proxy.drop_after(40_000_000)
    with pytest.raises(ArtifactMismatch, match=f"its SHA-256 is {SHA256}, not 0000"):
        images.fetch(Image(line.uri, "0" * 64))
