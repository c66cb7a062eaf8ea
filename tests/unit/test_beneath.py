from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent.transfer.beneath import open_beneath, open_directory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "sub/inner").mkdir(parents=True)
    (root / "sub/file").write_bytes(b"content")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(b"secret")
    return root


def descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def listed(descriptor: int) -> list[str]:
    with os.scandir(descriptor) as entries:
        return sorted(entry.name for entry in entries)


@pytest.fixture(autouse=True)
def _no_descriptor_is_left_open(root: Path) -> Iterator[None]:
    """`root` comes first: the directories of the test are made by then."""
    before = descriptors()
    yield
    assert descriptors() == before


def content(root: Path, path: str) -> bytes | None:
    descriptor = open_beneath(root, path)
    if descriptor is None:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def names(root: Path, path: str) -> list[str] | None:
    descriptor = open_beneath(root, path)
    if descriptor is None:
        return None
    try:
        return listed(descriptor)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("path", ["sub/file", "./sub//file", "sub/./file"])
def test_a_file_is_opened(root: Path, path: str) -> None:
    assert content(root, path) == b"content"


@pytest.mark.parametrize(("path", "found"), [("sub", ["file", "inner"]), (".", ["sub"]), ("sub/inner/", [])])
def test_a_directory_is_opened(root: Path, path: str, found: list[str]) -> None:
    assert names(root, path) == found


@pytest.mark.parametrize("path", ["nothing", "nothing/file", "sub/file/below", "sub/" + "x" * 300])
def test_what_is_not_there_is_none(root: Path, path: str) -> None:
    assert open_beneath(root, path) is None


def test_a_symbolic_link_is_never_followed_wherever_it_leads(root: Path) -> None:
    (root / "out").symlink_to("../outside")
    (root / "absolute").symlink_to(root.parent / "outside")
    (root / "inside").symlink_to("sub")
    (root / "sub/link").symlink_to("file")
    (root / "sub/loop").symlink_to("loop")
    for path in ("out", "out/secret", "absolute/secret", "inside/file", "inside", "sub/link", "sub/loop"):
        assert open_beneath(root, path) is None, path


def test_what_is_no_file_is_none_and_is_not_waited_for(root: Path) -> None:
    os.mkfifo(root / "pipe")
    (root / "null").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listener:
        directory = os.open(root, os.O_PATH)
        listener.bind(f"/proc/self/fd/{directory}/socket")
        os.close(directory)
        for path in ("pipe", "null", "socket", "pipe/x"):
            assert open_beneath(root, path) is None, path


def test_the_root_may_be_reached_through_a_link(root: Path) -> None:
    (root.parent / "link").symlink_to("root")
    assert content(root.parent / "link", "sub/file") == b"content"


def test_a_missing_root_is_an_error(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_beneath(root / "nothing", "file")


def test_a_directory_is_opened_from_its_parent_but_no_link_and_no_file(root: Path) -> None:
    (root / "link").symlink_to("sub")
    parent = os.open(root, os.O_RDONLY)
    try:
        child = open_directory(parent, "sub")
        assert listed(child) == ["file", "inner"]
        os.close(child)
        for name in ("link", "sub/file", "nothing"):
            with pytest.raises(OSError, match="directory"):
                open_directory(parent, name)
    finally:
        os.close(parent)
