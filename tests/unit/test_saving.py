from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent.attempt import Attempt
from agent.errors import StoreUnavailable
from agent.model.records import Artifact
from agent.model.share import Share
from agent.saving import save, store
from agent.transfer.archive import unpack

from tests.worlds import IMAGE, QUEUE, World, world


@pytest.fixture
def made(tmp_path: Path) -> World:
    return world(tmp_path)


@pytest.fixture
def attempt(made: World) -> Attempt:
    (made.directory("job-1", 3) / "work").mkdir(parents=True)
    return Attempt("job-1", 3, "token", "host-a", QUEUE, "handle", "boot", 0.0, {"image": IMAGE}, "amd64", Share())


@pytest.fixture
def work(made: World, attempt: Attempt) -> Path:
    return made.context.directory(attempt.id) / "work"


@pytest.fixture(autouse=True)
def _no_descriptor_is_left_open() -> Iterator[None]:
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def content(made: World, saved: Artifact) -> bytes:
    return made.stores.read_artifact(made.results.uri_of(saved))


def test_a_file_is_stored_below_its_attempt_with_size_and_digest(made: World, attempt: Attempt, work: Path) -> None:
    (work / "sub").mkdir()
    (work / "sub/out").write_bytes(b"x" * 3_000_000)
    saved = save(made.context, attempt, "sub/out", "outputs/sub/out", "mem://published/out")
    digest = hashlib.sha256(b"x" * 3_000_000).hexdigest()
    key = "job-1/attempts/3/outputs/sub/out"
    assert saved == Artifact("outputs/sub/out", key, 3_000_000, digest, "file", "mem://published/out")
    assert content(made, saved) == b"x" * 3_000_000
    assert made.stores.artifacts.uris == (f"mem://results/{key}",)


def test_a_directory_is_stored_as_one_archive(made: World, attempt: Attempt, work: Path, tmp_path: Path) -> None:
    (work / "out/sub").mkdir(parents=True)
    (work / "out/sub/file").write_text("content")
    saved = save(made.context, attempt, "out", "outputs/out")
    assert saved is not None
    archive = content(made, saved)
    assert (saved.kind, saved.size, saved.sha256) == ("tree", len(archive), hashlib.sha256(archive).hexdigest())
    unpack(io.BytesIO(archive), tmp_path / "there")
    assert (tmp_path / "there/sub/file").read_text() == "content"


def test_an_empty_file_is_a_file_and_an_empty_directory_a_tree(made: World, attempt: Attempt, work: Path) -> None:
    (work / "file").touch()
    (work / "folder").mkdir()
    kinds = [saved.kind for name in ("file", "folder") if (saved := save(made.context, attempt, name, name))]
    assert kinds == ["file", "tree"]


def test_names_that_are_no_uris_are_stored_and_found_again(made: World, attempt: Attempt, work: Path) -> None:
    name = "100% näme #1?.txt"
    (work / name).write_text("content")
    saved = save(made.context, attempt, name, f"outputs/{name}")
    assert saved is not None
    assert content(made, saved) == b"content"


def test_what_the_job_did_not_make_is_none(made: World, attempt: Attempt) -> None:
    assert save(made.context, attempt, "missing", "outputs/missing") is None
    assert made.stores.artifacts.uris == ()


def test_nothing_outside_the_jobs_directory_is_saved(made: World, attempt: Attempt, work: Path) -> None:
    (work.parent / "secrets").mkdir()
    (work.parent / "secrets/TOKEN").write_text("secret")
    (work / "link").symlink_to("../secrets/TOKEN")
    (work / "folder").symlink_to("../secrets")
    (work / "tree").mkdir()
    (work / "tree/link").symlink_to("../../secrets/TOKEN")
    os.mkfifo(work / "pipe")
    for path in ("link", "folder", "folder/TOKEN", "pipe"):
        assert save(made.context, attempt, path, path) is None
    saved = save(made.context, attempt, "tree", "tree")
    assert saved is not None
    assert b"secret\0" not in content(made, saved)


def test_saving_again_replaces_what_was_saved(made: World, attempt: Attempt, work: Path) -> None:
    for text in ("one", "two"):
        (work / "out").write_text(text)
        saved = save(made.context, attempt, "out", "out")
        assert saved is not None
        assert content(made, saved) == text.encode()
    assert len(made.stores.artifacts.uris) == 1


def test_a_store_that_is_away_is_told(made: World, attempt: Attempt, work: Path) -> None:
    (work / "out").touch()
    made.stores.artifacts.down = True
    with pytest.raises(StoreUnavailable):
        save(made.context, attempt, "out", "out")


def test_any_bytes_can_be_stored(made: World, attempt: Attempt) -> None:
    saved = store(made.context, attempt, "log", [b"one", b"", b"two"])
    assert (saved.name, saved.size, saved.kind, saved.uri) == ("log", 6, "file", None)
    assert content(made, saved) == b"onetwo"
