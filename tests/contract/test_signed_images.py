"""Signatures of images: real ones, made and verified by the runtime."""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from agent.adapters.images import FileImages, ImageRouter
from agent.adapters.images.signed import ADDED, CHANGED, UNSIGNED, Signatures, SignedImages
from agent.cache import Cache
from agent.errors import HostFault, JobFault, RuntimeUnavailable
from agent.images.sif import Rules
from agent.model.job import Image
from agent.ports import ImageFacts

from tests.fakes import FakeClock, FakeImages
from tests.workshop import Workshop

REQUIRED = '[images] signatures = "require"'
STRANGE = "by none of the keys in"


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


def signatures(keys: Path) -> Signatures:
    return Signatures(keys, lambda: "apptainer", 60)


@pytest.fixture
def fetch(workshop: Workshop, tmp_path: Path) -> Callable[[Path], Path]:
    """A function that fetches an image under the rule that it must be signed by the key "own"."""
    cache = Cache(tmp_path / "cache", lambda: 1024**3, lambda: (), FakeClock())
    files = FileImages([], cache, Rules(overlay=True), copied=True)
    images = SignedImages(files, signatures(workshop.keys("own.pem", "other.pem")), "require")
    return lambda path: images.fetch(Image(path.as_uri()))


def test_an_image_that_one_of_the_keys_has_signed_runs(workshop: Workshop, fetch: Callable[[Path], Path]) -> None:
    got = fetch(workshop.signed)
    assert got != workshop.signed
    assert got.read_bytes() == workshop.signed.read_bytes()


def test_a_pgp_key_in_the_directory_is_as_good(workshop: Workshop) -> None:
    signed = workshop.sign_pgp("pgp.sif")
    assert signatures(workshop.keys("own.asc")).problem(signed) is None
    assert signatures(workshop.keys("other.pem", "own.asc")).problem(signed) is None
    assert signatures(workshop.keys("own.asc")).problem(workshop.changed()) is not None
    assert STRANGE in (signatures(workshop.keys("own.asc")).problem(workshop.signed) or "")
    assert STRANGE in (signatures(workshop.keys("own.pem")).problem(signed) or "")


def bare_squashfs(workshop: Workshop) -> Path:
    path = workshop.folder / "bare.sqsh"
    path.write_bytes((b"hsqs" + bytes(36) + (4096).to_bytes(8, "little")).ljust(4096, b"\0"))
    return path


# How the image came to be -> what is said of it when the rule is "require".
BAD: dict[str, tuple[Callable[[Workshop], Path], str]] = {
    "unsigned": (lambda workshop: workshop.bare, UNSIGNED),
    "changed": (Workshop.changed, CHANGED),
    "added to the signed group": (lambda workshop: workshop.with_overlay("1"), ADDED),
    "added to no group": (lambda workshop: workshop.with_overlay(None), ADDED),
    "added in a group of its own": (lambda workshop: workshop.with_overlay("7"), ADDED),
    "no SIF file": (bare_squashfs, "it is no SIF file"),
}


@pytest.mark.parametrize(("make", "why"), BAD.values(), ids=BAD)
def test_every_other_image_is_refused_with_its_own_reason(
    make: Callable[[Workshop], Path], why: str, workshop: Workshop, fetch: Callable[[Path], Path]
) -> None:
    path = make(workshop)
    with pytest.raises(JobFault) as caught:
        fetch(path)
    assert str(caught.value).startswith(f"image {path.as_uri()}: {why}")
    assert str(caught.value).endswith(f", and {REQUIRED} wants a valid signature")


def test_a_key_that_the_operator_does_not_have_is_nobodys(workshop: Workshop) -> None:
    keys = workshop.keys("other.pem")
    found = signatures(keys).problem(workshop.signed)
    assert found == f"it is signed, and by none of the keys in {keys}"


def test_without_a_key_or_a_runtime_it_is_the_host_that_fails(workshop: Workshop, tmp_path: Path) -> None:
    with pytest.raises(HostFault, match=r"has no keys: put NAME\.pem"):
        signatures(tmp_path).problem(workshop.signed)
    with pytest.raises(HostFault, match=r"\[images\] keys_dir.*cannot be read"):
        signatures(tmp_path / "none").problem(workshop.signed)
    for name in ("bad.pem", "bad.asc"):
        (tmp_path / name).write_text("junk")
        with pytest.raises(HostFault, match="key"):
            signatures(tmp_path).problem(workshop.signed)
        (tmp_path / name).unlink()
    with pytest.raises(RuntimeUnavailable, match=r"runtime\.path"):
        Signatures(workshop.keys("own.pem"), lambda: None).problem(workshop.signed)


def test_a_file_is_verified_once_until_it_or_the_keys_change(workshop: Workshop, tmp_path: Path) -> None:
    calls, program = tmp_path / "calls", tmp_path / "program"
    program.write_text(f'#!/bin/sh\necho "$1" >> {calls}\nexec apptainer "$@"\n')
    program.chmod(0o755)
    keys = Path(shutil.copytree(workshop.keys("own.pem"), tmp_path / "keys"))
    image = Path(shutil.copy(workshop.signed, tmp_path / "image.sif"))
    checked = Signatures(keys, lambda: str(program), 60)
    assert [checked.problem(image), checked.problem(image)] == [None, None]
    assert calls.read_text().split() == ["verify"]
    (keys / "own.pem").unlink()
    shutil.copy(workshop.folder / "other.pem", keys)
    assert STRANGE in (checked.problem(image) or "")
    assert calls.read_text().split() == ["verify", "verify"]


def test_a_warning_is_all_where_the_rule_is_to_warn(
    workshop: Workshop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def reasons(keys: Path, path: Path) -> list[str]:
        caplog.clear()
        images = SignedImages(FileImages(), signatures(keys), "warn")
        assert images.fetch(Image(path.as_uri())) == path
        return [record.reason for record in caplog.records if record.event == "image-unverified"]  # type: ignore[attr-defined]

    caplog.set_level(logging.WARNING)
    assert reasons(workshop.keys("own.pem"), workshop.signed) == []
    assert reasons(workshop.keys("own.pem"), workshop.bare) == [UNSIGNED]
    assert "has no keys" in reasons(tmp_path, workshop.signed)[0]


@pytest.mark.parametrize("uri", ["docker://host/name", "venv://python"])
def test_what_is_made_on_this_host_cannot_be_signed(uri: str, workshop: Workshop, tmp_path: Path) -> None:
    there = {uri: (ImageFacts("amd64", 0), tmp_path)}
    images = ImageRouter(dict.fromkeys(("docker", "venv"), lambda: FakeImages(there)))
    required = SignedImages(images, signatures(workshop.keys("own.pem")), "require")
    facts = required.facts(Image(uri))
    assert facts is not None
    assert f"carries no signature, and {REQUIRED} wants one" in (facts.problem or "")
    with pytest.raises(JobFault, match="carries no signature"):
        required.fetch(Image(uri))
    warned = SignedImages(images, signatures(workshop.keys("own.pem")), "warn")
    assert warned.facts(Image(uri)) == ImageFacts("amd64", 0)
    assert warned.fetch(Image(uri)) == tmp_path


def test_a_swap_between_the_check_and_the_start_changes_nothing(
    workshop: Workshop, fetch: Callable[[Path], Path], tmp_path: Path
) -> None:
    """Replaced by name, and written over in place: what was verified is what a container is made of."""
    shared = Path(shutil.copy(workshop.signed, tmp_path / "shared.sif"))
    got = fetch(shared)
    for swap in (lambda: workshop.changed().replace(shared), lambda: shared.write_bytes(bytes(100_000))):
        swap()
        argv = ["apptainer", "-s", "exec", "--containall", str(got), "sh", "-c", "echo $((6 * 7))"]
        assert subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout == "42\n"
        assert got.read_bytes() == workshop.signed.read_bytes()
        with pytest.raises(JobFault):
            fetch(shared)
