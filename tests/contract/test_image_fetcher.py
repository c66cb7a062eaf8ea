"""ImageFetcher: the fake, files, artifact stores, registries."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import platform
import random
import secrets
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from agent.adapters.files import FileArtifacts
from agent.adapters.images import FileImages, ImageRouter, RemoteImages
from agent.adapters.images.docker import DockerImages, RuntimeTool, ShubImages
from agent.adapters.images.registry import Registries
from agent.adapters.local_image import build_image, make_root
from agent.cache import Cache
from agent.errors import (
    ArtifactMismatch,
    ArtifactMissing,
    HostFault,
    JobFault,
    RuntimeUnavailable,
    StoreUnavailable,
)
from agent.model.cargo import NOTHING, Access, Cargo
from agent.model.job import Image
from agent.ports import ArtifactInfo, ImageFacts, ImageFetcher

from tests.fakes import FakeAccess, FakeClock, FakeImages
from tests.faults import Between
from tests.oci import Repository, layer_of
from tests.servers import Registry, free_port
from tests.siffile import Part, sif_bytes, write_sif

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GIB = 1024**3


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_sif(tmp_path / "an image.sif", Part("arm64"))


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", lambda: GIB, lambda: (), FakeClock())


@pytest.fixture(params=["fake", "files", "stores"])
def images(request: pytest.FixtureRequest, path: Path, cache: Cache) -> ImageFetcher:
    if request.param == "files":
        return FileImages([], cache)
    if request.param == "stores":
        return RemoteImages(FakeAccess(FileArtifacts([path.parent])), cache)
    return FakeImages({path.as_uri(): (ImageFacts("arm64", path.stat().st_size), path)})


def test_the_facts_are_those_of_the_header(images: ImageFetcher, path: Path) -> None:
    assert images.facts(Image(path.as_uri())) == ImageFacts("arm64", path.stat().st_size)


def test_an_image_that_is_not_there_has_no_facts(images: ImageFetcher, path: Path) -> None:
    missing = Image((path.parent / "none.sif").as_uri())
    assert images.facts(missing) is None
    with pytest.raises(ArtifactMissing, match="no such image"):
        images.fetch(missing)


def test_fetch_gives_a_path_of_the_whole_image(images: ImageFetcher, path: Path) -> None:
    assert images.fetch(Image(path.as_uri())).read_bytes() == path.read_bytes()


def test_a_pinned_digest_is_checked(images: ImageFetcher, path: Path) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert images.fetch(Image(path.as_uri(), digest)).read_bytes() == path.read_bytes()
    with pytest.raises(ArtifactMismatch, match=f"{digest}, not 0000"):
        images.fetch(Image(path.as_uri(), "0" * 64))


# --- files only -----------------------------------------------------------------------------------------------------


def test_a_changed_image_is_checked_again(path: Path) -> None:
    images = FileImages()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    images.fetch(Image(path.as_uri(), digest))
    path.write_bytes(sif_bytes(Part("amd64")) + b"!")
    with pytest.raises(ArtifactMismatch):
        images.fetch(Image(path.as_uri(), digest))


def pinned(path: Path) -> Image:
    return Image(path.as_uri(), hashlib.sha256(path.read_bytes()).hexdigest())


def test_an_image_that_is_not_checked_runs_where_it_lies(path: Path, cache: Cache) -> None:
    assert FileImages([], cache).fetch(Image(path.as_uri())) == path


def test_what_was_checked_stays_as_it_was_whatever_becomes_of_the_file(path: Path, cache: Cache) -> None:
    image, content = pinned(path), path.read_bytes()
    got = FileImages([], cache).fetch(image)
    with path.open("r+b") as file:  # in place, as whoever may write the file can at any time
        file.write(bytes(len(content)))
    assert got.read_bytes() == content
    write_sif(path.with_name("other"), Part("386")).replace(path)
    assert got.read_bytes() == content
    assert got.stat().st_mode & 0o222 == 0


def test_a_checked_image_is_copied_once_for_each_version_of_the_file(path: Path, cache: Cache, tmp_path: Path) -> None:
    images, image = FileImages([], cache), pinned(path)
    first = images.fetch(image)
    assert images.fetch(image) == first
    assert FileImages([], cache, copied=True).fetch(image) == first
    assert cached(tmp_path) == [first]
    os.utime(path, (1, 1))
    assert images.fetch(image) != first


def test_a_change_that_hides_behind_the_old_time_is_found(path: Path, cache: Cache) -> None:
    images, image, before = FileImages([], cache), pinned(path), path.stat()
    images.fetch(image)
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ArtifactMismatch, match="its SHA-256 is"):
        images.fetch(image)


def test_a_mismatch_leaves_nothing_in_the_cache(path: Path, cache: Cache, tmp_path: Path) -> None:
    with pytest.raises(ArtifactMismatch, match="its SHA-256 is"):
        FileImages([], cache).fetch(Image(path.as_uri(), "0" * 64))
    assert cached(tmp_path) == []


def test_a_checked_image_that_the_cache_has_no_room_for_is_told_before(path: Path, tmp_path: Path) -> None:
    images, image = FileImages([], Cache(tmp_path / "cache", lambda: 9000, lambda: (), FakeClock())), pinned(path)
    facts = images.facts(image)
    assert facts is not None
    assert "more than [cache] size, 9000" in (facts.problem or "")
    with pytest.raises(HostFault, match=r"more than \[cache\] size, 9000"):
        images.fetch(image)


def test_other_files_are_images_with_a_problem(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("#!/bin/sh\n")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    images = FileImages()
    for name, problem in (("text", "not a SIF"), ("folder", "no regular file"), ("fifo", "no regular file")):
        facts = images.facts(Image((tmp_path / name).as_uri()))
        assert facts is not None
        assert problem in (facts.problem or "")


@pytest.mark.parametrize("uri", ["s3://bucket/a.sif", "file://elsewhere/a.sif", "file:///a/../b.sif", "file:a.sif"])
def test_uris_that_are_no_file_of_this_host(uri: str) -> None:
    facts = FileImages().facts(Image(uri))
    assert facts is not None
    assert uri in (facts.problem or "")
    with pytest.raises(ArtifactMissing, match="image"):
        FileImages().fetch(Image(uri))


def test_a_link_out_of_the_allowed_directories_is_refused(path: Path, tmp_path: Path) -> None:
    root = tmp_path / "allowed"
    root.mkdir()
    inside = write_sif(root / "inside.sif")
    (root / "link.sif").symlink_to(path)
    (root / "near.sif").symlink_to(inside)
    images = FileImages([root])
    facts = images.facts(Image((root / "link.sif").as_uri()))
    assert facts is not None
    assert "must lie below" in (facts.problem or "")
    with pytest.raises(ArtifactMissing, match="must lie below"):
        images.fetch(Image((root / "link.sif").as_uri()))
    assert images.fetch(Image((root / "near.sif").as_uri())) == inside


def test_a_root_that_is_a_link_allows_what_it_points_to(path: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(path.parent)
    images = FileImages([tmp_path / "link"])
    assert images.fetch(Image((tmp_path / "link" / path.name).as_uri())) == path


def test_an_image_that_may_not_be_read_is_unavailable(tmp_path: Path) -> None:
    # A path with a name that is too long fails for every user alike.
    with pytest.raises(StoreUnavailable, match="too long"):
        FileImages().facts(Image((tmp_path / ("x" * 300)).as_uri()))


def test_an_image_of_this_host_is_built_read_and_run(tmp_path: Path) -> None:
    image = tmp_path / "local.sif"
    build_image(image, "apptainer")
    facts = FileImages().facts(Image(image.as_uri()))
    assert facts is not None
    assert facts.problem is None
    command = ["apptainer", "-s", "exec", "--containall", str(image), "sh", "-c", "uname -m; echo $((6 * 7))"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == [os.uname().machine, "42"]


# --- artifact stores only -------------------------------------------------------------------------------------------


class Opened:
    """Stands in front of a store, and counts how often and how far its artifacts are read."""

    def __init__(self, store: FileArtifacts) -> None:
        self._store = store
        self.opened = 0
        self.read = 0
        self.tells_versions = True

    def stat(self, uri: str) -> ArtifactInfo | None:
        found = self._store.stat(uri)
        return found if found is None or self.tells_versions else ArtifactInfo(found.size)

    def open(self, uri: str) -> BinaryIO:
        self.opened += 1
        return io.BufferedReader(_Counted(self, self._store.open(uri)), 4096)

    def write(self, uri: str, chunks: Iterable[bytes]) -> None:
        self._store.write(uri, chunks)

    def copy(self, source: str, target: str) -> None:
        self._store.copy(source, target)


class _Counted(io.RawIOBase):
    def __init__(self, counter: Opened, stream: BinaryIO) -> None:
        self._counter, self._stream = counter, stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._stream.read(min(len(buffer), 50_000))  # a server sends as much as it likes
        buffer[: len(piece)] = piece
        self._counter.read += len(piece)
        return len(piece)

    def close(self) -> None:
        self._stream.close()
        super().close()


@pytest.fixture
def store(tmp_path: Path) -> Opened:
    return Opened(FileArtifacts([tmp_path]))


@pytest.fixture
def remote(store: Opened, cache: Cache) -> RemoteImages:
    return RemoteImages(FakeAccess(store), cache)


LARGE = sif_bytes(Part("arm64", content=random.Random(1).randbytes(5_000_000)))


def tar_of(*files: tuple[str, bytes], mode: str = "w") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


KINDS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd.compress,
}


def put(tmp_path: Path, content: bytes, name: str = "stored") -> Image:
    (tmp_path / name).write_bytes(content)
    return Image((tmp_path / name).as_uri())


def test_facts_need_no_more_than_the_beginning(remote: RemoteImages, store: Opened, tmp_path: Path) -> None:
    image = put(tmp_path, LARGE)
    assert remote.facts(image) == ImageFacts("arm64", len(LARGE))
    assert store.read < 1_200_000
    assert remote.facts(image) == ImageFacts("arm64", len(LARGE))
    assert store.opened == 1  # it is known until the store tells of another version


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("from_file", [False, True])
def test_an_image_may_come_as_the_one_file_of_an_archive(
    kind: str, from_file: bool, remote: RemoteImages, store: Opened, cache: Cache, tmp_path: Path
) -> None:
    """Clients of StudioML send it so, with any of these compressions, whatever the name says."""
    image = put(tmp_path, KINDS[kind](tar_of(("./tiny.simg", LARGE))), "7ef1.tar")
    images: ImageFetcher = FileImages([tmp_path], cache) if from_file else remote
    assert images.facts(image) == ImageFacts("arm64", len(LARGE))
    assert store.read < 2_500_000
    path = images.fetch(image)
    assert path.read_bytes() == LARGE
    assert path.is_relative_to(tmp_path / "cache")
    assert images.fetch(image) == path
    assert store.opened == (0 if from_file else 2)


NO_IMAGES = {
    "text": (b"SIFDUMMY", "neither an image nor a readable archive"),
    "a tar with no image in it": (tar_of(("./tiny.simg", b"SIFDUMMY")), "not a SIF"),
    "an empty tar": (tar_of(), "without a file"),
    "a damaged archive": (gzip.compress(tar_of(("a", LARGE)))[:500], "neither an image nor a readable archive"),
    "a cut image": (LARGE[:-1], "truncated"),
    "an encrypted image": (sif_bytes(Part(file_system=5)), "encrypted"),
    "a huge header": (gzip.compress(tar_of(("a" * 3_000_000, LARGE))), "a header of 3"),
}


@pytest.mark.parametrize(("content", "problem"), NO_IMAGES.values(), ids=NO_IMAGES)
def test_what_is_no_image_has_a_problem_and_is_never_kept(
    content: bytes, problem: str, remote: RemoteImages, tmp_path: Path
) -> None:
    image = put(tmp_path, content)
    facts = remote.facts(image)
    assert facts is not None
    assert problem in (facts.problem or "")
    with pytest.raises(JobFault, match=problem):
        remote.fetch(image)
    assert cached(tmp_path) == []


def test_an_archive_with_two_files_is_no_image(remote: RemoteImages, tmp_path: Path) -> None:
    image = put(tmp_path, tar_of(("a.sif", LARGE), ("b.sif", LARGE)))
    with pytest.raises(ArtifactMismatch, match="more than one file"):
        remote.fetch(image)
    assert cached(tmp_path) == []


def test_a_zip_archive_tells_nothing_at_its_beginning(remote: RemoteImages, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.sif", LARGE)
    facts = remote.facts(put(tmp_path, packed.getvalue()))
    assert facts is not None
    assert "zip archive" in (facts.problem or "")


def test_a_fetched_image_is_kept_until_the_store_has_another_version(
    remote: RemoteImages, store: Opened, tmp_path: Path
) -> None:
    image = put(tmp_path, LARGE)
    first = remote.fetch(image)
    assert remote.fetch(image) == first
    assert store.opened == 1
    put(tmp_path, sif_bytes(Part("amd64")))
    assert remote.facts(image) == ImageFacts("amd64", len(sif_bytes(Part("amd64"))))
    assert remote.fetch(image).read_bytes() == sif_bytes(Part("amd64"))
    assert first.read_bytes() == LARGE  # a job may be running it


def test_without_a_version_an_image_is_fetched_for_each_attempt(
    remote: RemoteImages, store: Opened, tmp_path: Path
) -> None:
    store.tells_versions = False
    image = put(tmp_path, LARGE)
    first = remote.fetch(image)
    assert remote.fetch(image) == first
    assert store.opened == 2
    assert cached(tmp_path) == [first]
    pinned = Image(image.uri, hashlib.sha256(LARGE).hexdigest())
    remote.fetch(pinned)
    remote.fetch(pinned)
    assert store.opened == 3  # a digest is as good as a version


def test_an_image_with_another_digest_is_not_kept(remote: RemoteImages, tmp_path: Path) -> None:
    image = put(tmp_path, LARGE)
    with pytest.raises(ArtifactMismatch, match=f"{image.uri}: its SHA-256 is .*, not 0000"):
        remote.fetch(Image(image.uri, "0" * 64))
    assert cached(tmp_path) == []


def test_an_image_that_is_replaced_while_it_is_read_is_not_kept(cache: Cache, store: Opened, tmp_path: Path) -> None:
    image = put(tmp_path, LARGE)

    def replace_and_open(uri: str) -> BinaryIO:
        os.utime(tmp_path / "stored", (1, 1))
        return store.open(uri)

    with pytest.raises(StoreUnavailable, match="changed while it was read"):
        RemoteImages(FakeAccess(Between(store, open=replace_and_open)), cache).fetch(image)
    assert cached(tmp_path) == []


def test_an_image_larger_than_the_cache_is_told_before_it_is_fetched(store: Opened, tmp_path: Path) -> None:
    small = Cache(tmp_path / "cache", lambda: 4_000_000, lambda: (), FakeClock())
    remote = RemoteImages(FakeAccess(store), small)
    for content in (LARGE, gzip.compress(tar_of(("a", sif_bytes(Part(content=bytes(5_000_000))))))):
        facts = remote.facts(put(tmp_path, content))
        assert facts is not None
        assert "more than [cache] size, 4000000" in (facts.problem or "")
    with pytest.raises(ArtifactMismatch, match="more than 4000000"):
        remote.fetch(put(tmp_path, gzip.compress(tar_of(("a", sif_bytes(Part(content=bytes(5_000_000))))))))


def test_an_image_is_read_with_the_rights_of_the_job_also_from_the_cache(
    store: Opened, cache: Cache, tmp_path: Path
) -> None:
    image, rights = put(tmp_path, LARGE), Access(user="job", password="word")
    access = FakeAccess(store)
    access.private[image.uri] = rights
    remote = RemoteImages(access, cache)
    owner = Cargo(access={image.uri: rights})
    assert remote.fetch(image, owner).read_bytes() == LARGE
    for stranger in (Cargo(access={image.uri: Access()}), NOTHING):
        facts = remote.facts(image, stranger)
        assert facts is not None
        assert facts.problem is not None
        with pytest.raises(JobFault):
            remote.fetch(image, stranger)


def cached(tmp_path: Path) -> list[Path]:
    """Return all files of the cache, whole or not."""
    return [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_bare_squashfs_runs_as_it_is(remote: RemoteImages, tmp_path: Path) -> None:
    """As Singularity 2 made them; out of an archive, as clients send them."""
    make_root(tmp_path / "root")
    bare = tmp_path / "bare.simg"
    argv = ["mksquashfs", str(tmp_path / "root"), str(bare), "-quiet", "-no-progress"]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    content = b"#!/usr/bin/env run-singularity\n" + bare.read_bytes()
    image = put(tmp_path, tar_of(("./bare.simg", content)))
    assert remote.facts(image) == ImageFacts("amd64", len(content))
    if platform.machine() == "x86_64":
        assert run_in(remote.fetch(image), "echo $((6 * 7))") == "42\n"


def run_in(image: Path, script: str) -> str:
    """Return what a shell in the image prints."""
    argv = ["apptainer", "-s", "exec", "--containall", str(image), "sh", "-c", script]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout


# --- registries only ------------------------------------------------------------------------------------------------


class Team:
    """A repository of this test alone, and images of it for a host that runs amd64, then arm64."""

    def __init__(self, registry: Registry, cache: Cache) -> None:
        self.repository = Repository(registry.url, f"team/tool-{secrets.token_hex(6)}")
        self.name = f"docker://{registry.host}/{self.repository.path}"
        self.clock = FakeClock()
        self.archs = ["amd64", "arm64"]
        tool = RuntimeTool(lambda: "apptainer", 120)
        self.images = DockerImages(cache, Registries(), tool, lambda: self.archs, self.clock)


@pytest.fixture
def team(registry: Registry, cache: Cache) -> Team:
    return Team(registry, cache)


@pytest.fixture(scope="session")
def layer(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A root file system of this host's programs."""
    tree = tmp_path_factory.mktemp("layer") / "root"
    make_root(tree)
    return layer_of(tree)


def small_layer(tmp_path: Path, word: str = "x") -> bytes:
    (tmp_path / word / "etc").mkdir(parents=True)
    (tmp_path / word / "etc/word").write_text(word)
    return layer_of(tmp_path / word)


def test_an_image_of_a_registry_is_built_and_run(team: Team, layer: bytes, tmp_path: Path) -> None:
    native = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    team.archs = [native]
    team.repository.push("1.0", layer, native)
    image = Image(f"{team.name}:1.0")
    assert team.images.facts(image) == ImageFacts(native, 0)
    path = team.images.fetch(image)
    assert run_in(path, "uname -m; echo $((6 * 7))").split() == [platform.machine(), "42"]
    assert cached(tmp_path) == [path]  # nothing of what was needed on the way
    assert list((tmp_path / "cache/making").iterdir()) == []


def test_an_image_for_arm64_is_built_of_a_list(team: Team, tools_cache: Path, tmp_path: Path) -> None:
    busybox = tools_cache / "busybox-arm64" / "busybox"
    assert busybox.exists(), f"{busybox} is missing; packaging/install-test-tools.sh fetches it"
    (tmp_path / "arm/bin").mkdir(parents=True)
    shutil.copy(busybox, tmp_path / "arm/bin/busybox")
    (tmp_path / "arm/bin/sh").symlink_to("busybox")
    images = {
        "amd64": team.repository.push("a", small_layer(tmp_path), "amd64"),
        "arm64": team.repository.push("b", layer_of(tmp_path / "arm"), "arm64"),
    }
    team.repository.push_index("latest", images)
    team.archs = ["arm64", "amd64"]
    image = Image(team.name)
    assert team.images.facts(image) == ImageFacts("arm64", 0)
    path = team.images.fetch(image)
    assert FileImages().facts(Image(path.as_uri())) == ImageFacts("arm64", path.stat().st_size)


def test_facts_build_nothing_and_ask_once_a_minute(team: Team, registry: Registry, tmp_path: Path) -> None:
    team.repository.push_index("latest", {"arm64": team.repository.push("b", small_layer(tmp_path), "arm64")})
    before = len(registry.requests())
    for _ in range(10):
        assert team.images.facts(Image(team.name)) == ImageFacts("arm64", 0)
    asked = [each for each in registry.requests()[before:] if team.repository.path in each]
    assert asked == [f"GET /v2/{team.repository.path}/manifests/latest"]
    assert cached(tmp_path) == []


def test_an_image_for_other_hosts_tells_its_architecture(team: Team, tmp_path: Path) -> None:
    team.repository.push_index("latest", {"arm64": team.repository.push("b", small_layer(tmp_path), "arm64")})
    team.archs = ["amd64"]
    assert team.images.facts(Image(team.name)) == ImageFacts("arm64", 0)
    with pytest.raises(ArtifactMissing, match="no such image for amd64"):
        team.images.fetch(Image(team.name))


def test_a_tag_that_moved_is_fetched_anew_and_one_that_did_not_is_not(team: Team, tmp_path: Path) -> None:
    image = Image(f"{team.name}:moving")
    team.repository.push("moving", small_layer(tmp_path, "one"), "amd64")
    first = team.images.fetch(image)
    team.clock.advance(61)
    assert team.images.fetch(image) == first
    team.repository.push("moving", small_layer(tmp_path, "two"), "amd64")
    team.clock.advance(61)
    second = team.images.fetch(image)
    assert second != first
    assert first.exists()


def test_an_image_can_be_named_by_its_digest(team: Team, tmp_path: Path) -> None:
    pushed = team.repository.push("moving", small_layer(tmp_path, "one"), "amd64")
    team.repository.push("moving", small_layer(tmp_path, "two"), "amd64")
    path = team.images.fetch(Image(f"{team.name}@{pushed.digest}"))
    assert path != team.images.fetch(Image(f"{team.name}:moving"))


def test_what_a_registry_does_not_have_is_missing(team: Team, tmp_path: Path) -> None:
    team.repository.push("there", small_layer(tmp_path), "amd64")
    for uri in (f"{team.name}:gone", f"{team.name}-gone", f"{team.name}@sha256:{'0' * 64}"):
        assert team.images.facts(Image(uri)) is None
        with pytest.raises(ArtifactMissing, match="no such image"):
            team.images.fetch(Image(uri))


def test_an_image_for_windows_is_none(team: Team, tmp_path: Path) -> None:
    team.repository.push("latest", small_layer(tmp_path), "amd64", os="windows")
    facts = team.images.facts(Image(team.name))
    assert facts is not None
    assert "no image for Linux" in (facts.problem or "")


def test_the_bytes_of_an_image_that_is_built_here_cannot_be_pinned(team: Team, tmp_path: Path) -> None:
    team.repository.push("latest", small_layer(tmp_path), "amd64")
    facts = team.images.facts(Image(team.name, "0" * 64))
    assert facts is not None
    assert "@sha256:" in (facts.problem or "")
    with pytest.raises(ArtifactMismatch, match="@sha256:"):
        team.images.fetch(Image(team.name, "0" * 64))


def test_a_registry_that_is_away_is_nobodys_fault(team: Team) -> None:
    away = Image(f"docker://127.0.0.1:{free_port()}/team/tool")
    with pytest.raises(StoreUnavailable, match="no connection"):
        team.images.facts(away)
    with pytest.raises(StoreUnavailable, match="no connection"):
        team.images.fetch(away)


def test_a_layer_that_is_gone_keeps_nothing(team: Team, registry: Registry, tmp_path: Path) -> None:
    content = small_layer(tmp_path, secrets.token_hex(8))
    team.repository.push("latest", content, "amd64")
    registry.lose_blob(f"sha256:{hashlib.sha256(content).hexdigest()}")
    with pytest.raises(StoreUnavailable, match=r"image docker://127.*tool.*blob unknown"):
        team.images.fetch(Image(team.name))
    assert cached(tmp_path) == []


def test_a_host_without_runtime_says_so(registry: Registry, cache: Cache, tmp_path: Path) -> None:
    team = Team(registry, cache)
    team.repository.push("latest", small_layer(tmp_path), "amd64")
    images = DockerImages(cache, Registries(), RuntimeTool(lambda: None), lambda: ["amd64"], FakeClock())
    with pytest.raises(RuntimeUnavailable, match=r"runtime\.path"):
        images.fetch(Image(team.name))


def test_singularity_hub_is_asked_only_when_an_image_is_fetched(cache: Cache) -> None:
    hub = ShubImages(cache, RuntimeTool(lambda: "apptainer", 60))
    image = Image("shub://127.0.0.1/user/name:tag")
    assert hub.facts(image) == ImageFacts("amd64", 0)
    with pytest.raises(StoreUnavailable, match="no response"):
        hub.fetch(image)
    for uri in ("shub://name", "shub://a/b/c/d", "shub://a/../b", "shub://--help/x", "shub://a/b c"):
        facts = hub.facts(Image(uri))
        assert facts is not None
        assert "no image of Singularity Hub" in (facts.problem or "")
        with pytest.raises(ArtifactMissing, match="no image of Singularity Hub"):
            hub.fetch(Image(uri))


# --- all together ---------------------------------------------------------------------------------------------------


def test_the_scheme_decides_and_a_file_with_rights_is_read_with_them(path: Path) -> None:
    made = []

    def having(uri: str, arch: str) -> Callable[[], FakeImages]:
        def make() -> FakeImages:
            made.append(arch)
            return FakeImages({uri: (ImageFacts(arch, 1), path)})

        return make

    uri = path.as_uri()
    brought = having(uri, "386")
    images = ImageRouter({"file": having(uri, "amd64"), "docker": having("docker://a", "arm64")}, brought)
    rights = Cargo(access={uri: Access(), "docker://a": Access(user="u")})
    assert made == []
    assert images.facts(Image(uri)) == images.facts(Image(uri)) == ImageFacts("amd64", 1)
    assert made == ["amd64"]  # each when it is first wanted: clients of registries are costly to load
    assert images.facts(Image(uri), rights) == ImageFacts("386", 1)
    assert images.facts(Image("docker://a"), rights) == ImageFacts("arm64", 1)
    assert images.fetch(Image("docker://a"), rights) == path
    for other in (Image("ftp://a/b"), Image("venv://python")):
        facts = images.facts(other)
        assert facts is not None
        assert "known: docker, file" in (facts.problem or "")
        with pytest.raises(ArtifactMissing, match="known: docker, file"):
            images.fetch(other)
    nobody = ImageRouter({"file": having(uri, "amd64")})
    facts = nobody.facts(Image(uri), rights)
    assert facts is not None
    assert facts.problem is not None
