"""ImageFetcher: the fake, and files."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from agent.adapters.images import FileImages
from agent.adapters.local_image import build_image
from agent.errors import ArtifactMismatch, ArtifactMissing, StoreUnavailable
from agent.model.job import Image
from agent.ports import ImageFacts, ImageFetcher

from tests.fakes import FakeImages
from tests.siffile import Part, sif_bytes, write_sif


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_sif(tmp_path / "an image.sif", Part("arm64"))


@pytest.fixture(params=["fake", "files"])
def images(request: pytest.FixtureRequest, path: Path) -> ImageFetcher:
    if request.param == "files":
        return FileImages()
    return FakeImages({path.as_uri(): (ImageFacts("arm64", path.stat().st_size), path)})


def test_the_facts_are_those_of_the_header(images: ImageFetcher, path: Path) -> None:
    assert images.facts(Image(path.as_uri())) == ImageFacts("arm64", path.stat().st_size)


def test_an_image_that_is_not_there_has_no_facts(images: ImageFetcher) -> None:
    missing = Image("file:///no/such/image.sif")
    assert images.facts(missing) is None
    with pytest.raises(ArtifactMissing, match="no such image"):
        images.fetch(missing)


def test_fetch_gives_a_path_of_the_whole_image(images: ImageFetcher, path: Path) -> None:
    assert images.fetch(Image(path.as_uri())).read_bytes() == path.read_bytes()


def test_a_pinned_digest_is_checked(images: ImageFetcher, path: Path) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert images.fetch(Image(path.as_uri(), digest)) == path
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


def test_an_unchanged_image_is_read_once(path: Path) -> None:
    images = FileImages()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    images.fetch(Image(path.as_uri(), digest))
    before = path.stat()
    with path.open("r+b") as file:  # other bytes behind the same identity: only reading again would notice
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert images.fetch(Image(path.as_uri(), digest)) == path


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
