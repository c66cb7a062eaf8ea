"""Outputs that are stored at their own place alone, as one archive."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent.model.cargo import Cargo, Compression
from agent.model.records import Outcome
from agent.worker import follow

from tests.waiting import wait_until
from tests.worlds import World, world

URI = "mem://out/model.tar"
WAIT_FOR_GO = "while [ ! -e go ]; do sleep 0.02; done; "


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr("agent.watching.TICK", 0.02)
    made = world(tmp_path)
    yield made
    made.runtime.close()


def submit(made: World, script: str, *, compression: Compression = "none", log: str | None = None, **keys: Any) -> str:
    sid = made.submit(script, outputs=[{"path": "model", "uri": URI, **keys}])
    made.cargo[sid] = Cargo(direct={"model": compression}, log=log)
    return sid


def stored(made: World) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(made.stores.read_artifact(URI)))


@pytest.mark.parametrize(
    ("compression", "magic"), [("none", b"weights\0"), ("gzip", b"\x1f\x8b"), ("bzip2", b"BZh"), ("xz", b"\xfd7zXZ\0")]
)
def test_a_direct_output_is_one_archive_compressed_as_asked(
    made: World, compression: Compression, magic: bytes
) -> None:
    submit(made, "mkdir -p model; echo x > model/weights", compression=compression)
    made.run_one()
    assert made.stores.read_artifact(URI).startswith(magic)
    with stored(made) as archive:
        assert archive.getnames() == ["weights"]


def test_it_is_not_in_the_results_store_too(made: World) -> None:
    sid = submit(made, "mkdir model; echo x > model/weights")
    made.run_one()
    assert made.artifact_names(sid) == ["log"]


@pytest.mark.parametrize("script", ["true", "mkdir model", "echo x > model; exit 1"])
def test_what_is_missing_or_empty_replaces_nothing(made: World, script: str) -> None:
    made.stores.artifacts.write(URI, [b"of an earlier run"])
    submit(made, script.replace("echo x > model; ", ""))
    made.run_one()
    assert made.stores.read_artifact(URI) == b"of an earlier run"


def test_a_failed_job_uploads_too(made: World) -> None:
    sid = submit(made, "mkdir model; echo x > model/weights; exit 3")
    made.run_one()
    assert made.commit(sid).outcome is Outcome.FAILED
    with stored(made) as archive:
        assert archive.getnames() == ["weights"]


def test_the_log_is_the_first_member_in_place_of_a_file_of_that_name(made: World) -> None:
    submit(made, "mkdir model; echo forged > model/output; echo x > model/a; echo hello", log="model/output")
    made.run_one()
    with stored(made) as archive:
        assert archive.getnames() == ["output", "a"]
        member = archive.extractfile("output")
        assert member is not None
        assert member.read() == b"hello\n"


def test_the_log_is_uploaded_when_the_job_never_ran(made: World) -> None:
    sid = made.submit(
        "true",
        outputs=[{"path": "model", "uri": URI}],
        inputs=[
            {"uri": "mem://in/may-be-missing", "path": "model", "unpack": True},
            {"uri": "mem://in/nothing", "path": "x"},
        ],
    )
    made.cargo[sid] = Cargo(direct={"model": "none"}, optional=("model",), log="model/output")
    made.run_one()
    with stored(made) as archive:
        member = archive.extractfile("output")
        assert member is not None
        assert b"mem://in/nothing" in member.read()


def test_a_running_job_saves_it_when_its_time_has_come(made: World) -> None:
    sid = submit(made, "mkdir model; echo x > model/weights; echo up; " + WAIT_FOR_GO, every=60)
    task = made.start_one()
    made.wait_for_log(sid, "up")
    assert URI not in made.stores.artifacts.uris

    def saved_as_time_goes_by() -> bool:
        made.clock.advance(61.0)
        return URI in made.stores.artifacts.uris

    wait_until(saved_as_time_goes_by, what="the checkpoint")
    made.tell(sid, "go")
    task.join()


def test_an_attempt_that_was_overtaken_uploads_nothing_any_more(made: World) -> None:
    sid = submit(made, "mkdir model; echo zombie > model/weights; echo up; " + WAIT_FOR_GO)
    task = made.start_one()
    made.wait_for_log(sid, "up")
    made.overtake(sid, 2)
    made.tell(sid, "go")
    task.join()
    assert URI not in made.stores.artifacts.uris


def test_the_journal_keeps_what_came_with_the_job(made: World) -> None:
    sid = submit(made, "mkdir model; echo x > model/weights; echo up; " + WAIT_FOR_GO)
    task = made.start_one()
    made.wait_for_log(sid, "up")
    made.context.detaching.set()
    task.join()
    del made.cargo[sid]
    (attempt,) = made.restart(follow_up=False)
    made.tell(sid, "go")
    follow(made.context, attempt)
    assert URI in made.stores.artifacts.uris
