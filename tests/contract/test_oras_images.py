"""SIF files in a real registry, also behind a line that breaks."""

from __future__ import annotations

import hashlib
import os
import random
import secrets
import subprocess
from pathlib import Path

import pytest
from agent.adapters.images.oras import OrasImages
from agent.adapters.images.registry import Registries
from agent.adapters.local_image import build_image
from agent.cache import Cache
from agent.errors import ArtifactMismatch, ArtifactMissing, HostFault, StoreUnavailable
from agent.model.job import Image
from agent.ports import ImageFacts

from tests.fakes import FakeClock
from tests.oci import Repository, layer_of
from tests.proxy import Proxy
from tests.servers import Registry, free_port
from tests.siffile import Part, sif_bytes
from tests.waiting import wait_until

LARGE = sif_bytes(Part("arm64", content=random.Random(5).randbytes(40_000_000)))
SMALL = sif_bytes(Part("arm64"))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Shelf:
    """A repository of this test alone, and the images that a host with the cache `cache` finds there."""

    def __init__(self, registry: Registry, folder: Path) -> None:
        self.repository = Repository(registry.url, f"team/sif-{secrets.token_hex(6)}")
        self.name = f"oras://{registry.host}/{self.repository.path}"
        self.clock = FakeClock()
        self.limit = 1024**3
        self.cached = folder / "cache"
        self.images = OrasImages(
            Cache(self.cached, lambda: self.limit, lambda: (), self.clock), Registries(), self.clock
        )

    def behind(self, proxy: Proxy, tag: str) -> Image:
        """Return the image as it is found through the proxy."""
        return Image(f"oras://127.0.0.1:{proxy.port}/{self.repository.path}:{tag}")

    def kept(self) -> list[Path]:
        """Return all files of the cache, whole or not."""
        return [path for path in self.cached.rglob("*") if path.is_file()]


@pytest.fixture
def shelf(registry: Registry, tmp_path: Path) -> Shelf:
    return Shelf(registry, tmp_path)


def test_an_image_is_found_by_its_tag_and_by_its_digest(shelf: Shelf) -> None:
    pushed = shelf.repository.push_sif("1.0", SMALL)
    for image in (Image(f"{shelf.name}:1.0"), Image(f"{shelf.name}@{pushed.digest}")):
        assert shelf.images.facts(image) == ImageFacts("arm64", len(SMALL))
        assert shelf.images.fetch(image).read_bytes() == SMALL
    assert len(shelf.kept()) == 1


def test_what_the_runtime_pushes_runs_here(shelf: Shelf, tmp_path: Path) -> None:
    image = tmp_path / "local.sif"
    build_image(image, "apptainer")
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    argv = ["apptainer", "-s", "push", "--no-https", str(image), f"{shelf.name}:1"]
    subprocess.run(argv, env=environ, check=True, capture_output=True, timeout=60)
    got = shelf.images.fetch(Image(f"{shelf.name}:1", sha256(image.read_bytes())))
    argv = ["apptainer", "-s", "exec", "--containall", str(got), "sh", "-c", "echo $((6 * 7))"]
    assert subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout == "42\n"


def test_a_download_goes_on_where_the_line_broke(shelf: Shelf, registry: Registry) -> None:
    shelf.repository.push_sif("large", LARGE)
    with Proxy(registry.port) as proxy:
        image = shelf.behind(proxy, "large")
        assert shelf.images.facts(image) == ImageFacts("arm64", len(LARGE))
        assert proxy.answered < len(LARGE) / 4  # the beginning, and what was on its way when it had been read
        proxy.drop_after(25_000_000)
        before = len(registry.requests())
        assert shelf.images.fetch(image).read_bytes() == LARGE
        wait_until(lambda: len(registry.requests()) >= before + 2)  # its log is written behind its answers
        assert [each.partition(" ")[0] for each in registry.requests()[before:]] == ["GET", "GET"]
        assert proxy.answered < 1.6 * len(LARGE)  # far from twice


def test_a_tag_that_moved_is_another_image_after_a_minute(shelf: Shelf) -> None:
    image = Image(f"{shelf.name}:moving")
    shelf.repository.push_sif("moving", SMALL)
    first = shelf.images.fetch(image)
    other = sif_bytes(Part("amd64"))
    shelf.repository.push_sif("moving", other)
    assert shelf.images.fetch(image) == first
    shelf.clock.advance(61)
    assert shelf.images.facts(image) == ImageFacts("amd64", len(other))
    assert shelf.images.fetch(image).read_bytes() == other


def test_a_digest_that_the_job_pins_is_that_of_the_file(shelf: Shelf) -> None:
    shelf.repository.push_sif("1.0", SMALL)
    assert shelf.images.fetch(Image(f"{shelf.name}:1.0", sha256(SMALL))).read_bytes() == SMALL
    wrong = Image(f"{shelf.name}:1.0", "0" * 64)
    facts = shelf.images.facts(wrong)
    assert facts is not None
    assert "not 0000" in (facts.problem or "")
    with pytest.raises(ArtifactMismatch, match=r"its SHA-256 is .*, not 0000"):
        shelf.images.fetch(wrong)


def test_what_the_registry_does_not_have_is_missing(shelf: Shelf) -> None:
    shelf.repository.push_sif("there", SMALL)
    for uri in (f"{shelf.name}:gone", f"{shelf.name}-gone", f"{shelf.name}@sha256:{'0' * 64}"):
        assert shelf.images.facts(Image(uri)) is None
        with pytest.raises(ArtifactMissing, match="no such image"):
            shelf.images.fetch(Image(uri))


def test_other_things_in_a_registry_are_no_sif_file(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    plain = shelf.repository.push("plain", layer_of(tmp_path / "tree"), "amd64")
    shelf.repository.push_index("list", {"amd64": plain})
    shelf.repository.push_sif("twice", SMALL, layers=2)
    for tag, why in (("plain", "docker:// for other images"), ("list", "a list of images"), ("twice", "no single SIF")):
        image = Image(f"{shelf.name}:{tag}")
        facts = shelf.images.facts(image)
        assert facts is not None
        assert why in (facts.problem or "")
        with pytest.raises(ArtifactMissing, match=why):
            shelf.images.fetch(image)


def test_a_file_that_is_no_image_is_not_kept(shelf: Shelf) -> None:
    shelf.repository.push_sif("junk", b"junk" * 5000)
    image = Image(f"{shelf.name}:junk")
    facts = shelf.images.facts(image)
    assert facts is not None
    assert facts.problem is not None
    with pytest.raises(ArtifactMismatch, match="neither an image nor"):
        shelf.images.fetch(image)
    assert shelf.kept() == []


def test_a_registry_that_is_away_or_lost_the_file_is_nobodys_fault(shelf: Shelf, registry: Registry) -> None:
    away = Image(f"oras://127.0.0.1:{free_port()}/team/tool")
    with pytest.raises(StoreUnavailable, match="no connection"):
        shelf.images.facts(away)
    content = sif_bytes(Part("amd64", content=secrets.token_bytes(64)))
    shelf.repository.push_sif("lost", content)
    registry.lose_blob(f"sha256:{sha256(content)}")
    for ask in (shelf.images.facts, shelf.images.fetch):
        with pytest.raises(StoreUnavailable, match="HTTP status 404 for the file of the image"):
            ask(Image(f"{shelf.name}:lost"))
    assert shelf.kept() == []


def test_a_file_that_the_cache_has_no_room_for_is_told_before_it_is_fetched(shelf: Shelf) -> None:
    shelf.repository.push_sif("1.0", SMALL)
    shelf.limit = 9000
    facts = shelf.images.facts(Image(f"{shelf.name}:1.0"))
    assert facts is not None
    assert "more than [cache] size, 9000" in (facts.problem or "")
    with pytest.raises(HostFault, match=r"more than \[cache\] size, 9000"):
        shelf.images.fetch(Image(f"{shelf.name}:1.0"))


@pytest.mark.parametrize("uri", ["oras://", "oras://host/UPPER", "oras://host/a@sha256:1", "oras://host/a:"])
def test_a_uri_that_names_nothing_is_a_problem(uri: str, shelf: Shelf) -> None:
    facts = shelf.images.facts(Image(uri))
    assert facts is not None
    assert "such as oras://" in (facts.problem or "")
