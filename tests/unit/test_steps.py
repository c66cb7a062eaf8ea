from __future__ import annotations

import io
import os
import random
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from agent.attempt import Attempt, Event, from_journal
from agent.errors import ArtifactMismatch, ArtifactMissing, HostFault, JobFault, StoreUnavailable, UnsafeArchive
from agent.model.job import parse_job
from agent.model.share import Share
from agent.model.usage import Moved
from agent.ports import ABSENT
from agent.steps import RUN_STEPS, STAGE_STEPS, image, run, stage_in, undo_all, workspace
from agent.steps.checkpoint import Saver, restore, save_checkpoint

from tests.waiting import wait_until
from tests.worlds import IMAGE, QUEUE, World, world

SID = "job-1"
DIGEST_OF_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr("agent.watching.TICK", 0.02)
    made = world(tmp_path)
    yield made
    made.runtime.close()


def claim(made: World, n: int = 1, **keys: Any) -> Attempt:
    """Return a claimed attempt at a job with these keys, known to journal, board and results store."""
    table = {"image": IMAGE, "command": ["true"], **keys}
    parse_job(table)
    attempt = Attempt(
        sid=SID,
        n=n,
        token="token",
        host=made.host,
        queue=QUEUE,
        handle="handle",
        boot_id="boot-1",
        claimed_at=made.clock.time(),
        table=table,
        arch="amd64",
        reserved=Share(1.0, 1000, 1000),
    )
    made.context.note(attempt)
    assert made.results.claim(attempt.record())
    return attempt


def started(made: World, n: int = 1, **keys: Any) -> Attempt:
    """Return an attempt whose container is said to run, with its directories."""
    attempt = claim(made, n, **keys)
    workspace.apply(made.context, attempt)
    return made.context.advance(attempt, Event.LAUNCH)


def work(made: World, n: int = 1) -> Path:
    return made.directory(SID, n) / "work"


def tar_of(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


# --- workspace ------------------------------------------------------------------------------------------------------


def test_the_directories_are_the_agents_alone(made: World) -> None:
    workspace.apply(made.context, claim(made, workdir="deep/er"))
    directory = made.directory(SID)
    assert sorted(path.name for path in directory.iterdir()) == ["tmp", "work"]
    assert (work(made) / "deep/er").is_dir()
    for path in (directory, directory / "work", directory / "tmp"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_rest_of_an_earlier_life_is_removed_first(made: World) -> None:
    attempt = claim(made)
    for _ in range(2):
        workspace.apply(made.context, attempt)
        assert list(work(made).iterdir()) == []
        (work(made) / "rest").touch()


def test_undoing_removes_everything_whatever_its_rights_and_may_be_repeated(made: World) -> None:
    workspace.apply(made.context, claim(made))
    (work(made) / "closed").mkdir(mode=0)
    (work(made) / "file").touch(mode=0)
    (work(made) / "link").symlink_to("/etc")
    os.mkfifo(work(made) / "pipe")
    for _ in range(2):
        workspace.undo(made.context, f"{SID}.1")
        assert not made.directory(SID).exists()
    assert Path("/etc").is_dir()


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A directory of a user without rights, and the rights of that user."""
    folder = Path(tempfile.mkdtemp(prefix="edge-agent-nobody-"))
    if os.getuid() == 0:
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
    yield folder
    os.seteuid(os.getuid())
    shutil.rmtree(folder, ignore_errors=True)


def test_a_plain_user_can_remove_what_a_payload_closed_at_every_level(as_nobody: Path) -> None:
    made = world(as_nobody)
    workspace.apply(made.context, claim(made))
    outside = as_nobody / "outside"
    outside.mkdir(mode=0o500)
    below = work(made) / "a/b/c"
    below.mkdir(parents=True)
    (below / "file").touch()
    (below / "link").symlink_to(outside)
    for path in (below, below.parent, below.parent.parent, work(made)):
        path.chmod(0)
    workspace.undo(made.context, f"{SID}.1")
    assert not made.directory(SID).exists()
    assert stat.S_IMODE(outside.stat().st_mode) == 0o500


def test_a_place_that_cannot_be_made_is_the_hosts_fault(made: World) -> None:
    (made.state_dir / "attempts").touch()
    with pytest.raises(HostFault, match=r"attempts/job-1\.1 cannot be made: Not a directory"):
        workspace.apply(made.context, claim(made))


# --- image ----------------------------------------------------------------------------------------------------------


def test_the_image_is_a_link_to_what_was_fetched(made: World) -> None:
    attempt = claim(made)
    workspace.apply(made.context, attempt)
    image.apply(made.context, attempt)
    assert "the runscript" in (made.directory(SID) / "image").read_text()


def test_a_job_without_an_image_for_the_architecture_is_at_fault(made: World) -> None:
    with pytest.raises(JobFault, match="no image for amd64"):
        image.apply(made.context, claim(made, image={"arm64": IMAGE}))


def test_an_image_with_another_digest_is_not_run(made: World) -> None:
    attempt = claim(made, image={"uri": IMAGE, "sha256": DIGEST_OF_NOTHING})
    workspace.apply(made.context, attempt)
    with pytest.raises(ArtifactMismatch):
        image.apply(made.context, attempt)


# --- stage-in -------------------------------------------------------------------------------------------------------


def staged(made: World, *inputs: dict[str, Any], **keys: Any) -> Path:
    attempt = claim(made, inputs=list(inputs), **keys)
    workspace.apply(made.context, attempt)
    stage_in.apply(made.context, attempt)
    return work(made)


def test_inputs_are_put_where_the_job_wants_them(made: World) -> None:
    nothing = {"uri": made.stores.put_artifact("nothing", b""), "path": "nothing", "sha256": DIGEST_OF_NOTHING}
    place = staged(made, {"uri": made.stores.put_artifact("a", b"a" * 2_000_000), "path": "data/deep/a.bin"}, nothing)
    assert (place / "data/deep/a.bin").read_bytes() == b"a" * 2_000_000
    assert (place / "nothing").read_bytes() == b""
    assert sorted(path.name for path in place.rglob("*")) == ["a.bin", "data", "deep", "nothing"]


def test_an_archive_is_unpacked_and_not_kept(made: World) -> None:
    uri = made.stores.put_artifact("a.tar.gz", tar_of(one=b"1", two=b"2"))
    place = staged(made, {"uri": uri, "path": "data", "unpack": True})
    assert {path.name: path.read_bytes() for path in (place / "data").iterdir()} == {"one": b"1", "two": b"2"}
    assert list(place.iterdir()) == [place / "data"]


def test_several_archives_may_share_a_directory(made: World) -> None:
    one, two = (made.stores.put_artifact(name, tar_of(**{name: b"x"})) for name in ("one", "two"))
    place = staged(made, *({"uri": uri, "path": "data", "unpack": True} for uri in (one, two)))
    assert sorted(path.name for path in (place / "data").iterdir()) == ["one", "two"]


def test_content_with_another_digest_is_refused(made: World) -> None:
    uri = made.stores.put_artifact("a", b"changed")
    with pytest.raises(ArtifactMismatch, match=f"{uri} has SHA-256 .*, the job promises {DIGEST_OF_NOTHING}"):
        staged(made, {"uri": uri, "path": "a", "sha256": DIGEST_OF_NOTHING})
    assert not (work(made) / "a").exists()


def test_an_archive_with_another_digest_is_not_unpacked(made: World) -> None:
    uri = made.stores.put_artifact("a", tar_of(one=b"1"))
    with pytest.raises(ArtifactMismatch):
        staged(made, {"uri": uri, "path": "a", "unpack": True, "sha256": DIGEST_OF_NOTHING})
    assert not (work(made) / "a").exists()


def test_an_input_that_does_not_exist_is_the_jobs_fault(made: World) -> None:
    with pytest.raises(ArtifactMissing):
        staged(made, {"uri": "mem://in/missing", "path": "a"})


BAD_ARCHIVES = {
    "leads out": tar_of(**{"../evil": b"x"}),
    "cut off": tar_of(a=random.Random(1).randbytes(9000))[:5000],
    "no archive": b"no archive",
}


@pytest.mark.parametrize("content", BAD_ARCHIVES.values(), ids=BAD_ARCHIVES)
def test_an_archive_that_cannot_be_unpacked_is_the_jobs_fault(made: World, content: bytes) -> None:
    uri = made.stores.put_artifact("a", content)
    with pytest.raises(JobFault, match=f"input {uri}: "):
        staged(made, {"uri": uri, "path": "data", "unpack": True})
    assert not (work(made) / "evil").exists()


def test_a_store_that_is_away_is_nobodys_fault(made: World) -> None:
    made.stores.artifacts.down = True
    with pytest.raises(StoreUnavailable):
        staged(made, {"uri": "mem://in/a", "path": "a"})


def test_inputs_in_each_others_way_are_the_jobs_own_fault(made: World) -> None:
    uri = made.stores.put_artifact("a", b"")
    with pytest.raises(JobFault, match="where the job wants them: a: File exists"):
        staged(made, {"uri": uri, "path": "a"}, {"uri": uri, "path": "a/b"})


def test_a_path_that_no_disk_can_have_is_the_jobs_own_fault(made: World) -> None:
    uri = made.stores.put_artifact("a", b"")
    with pytest.raises(JobFault, match=r"where the job wants them: x+: File name too long"):
        staged(made, {"uri": uri, "path": f"{'x' * 300}/a"})
    with pytest.raises(JobFault, match=r"the job's directory \"y+\" cannot be made: File name too long"):
        workspace.apply(made.context, claim(made, 2, workdir="y" * 300))


def test_a_disk_that_takes_no_input_is_the_hosts_fault(made: World) -> None:
    attempt = claim(made, inputs=[{"uri": made.stores.put_artifact("a", b"x"), "path": "a"}])
    workspace.apply(made.context, attempt)
    (work(made) / "a.part").symlink_to("/dev/full")
    with pytest.raises(HostFault, match=r"inputs cannot be written below .*: No space left on device"):
        stage_in.apply(made.context, attempt)


def test_what_comes_and_goes_is_counted_until_the_attempt_takes_it_along(made: World) -> None:
    uri = made.stores.put_artifact("a", b"x" * 3000)
    attempt = claim(made, inputs=[{"uri": uri, "path": "a"}], **KEYS)
    workspace.apply(made.context, attempt)
    stage_in.apply(made.context, attempt)
    (work(made) / "state").write_bytes(b"s" * 500)
    saved = save_checkpoint(made.context, attempt.on(Event.LAUNCH))
    assert saved.moved == Moved(3000, 500)
    assert from_journal(made.journal.load()[attempt.id]).moved == saved.moved
    assert made.context.counted(saved).moved == saved.moved, "nothing counts twice"
    again = claim(made, 2, **KEYS)
    workspace.apply(made.context, again)
    restore(made.context, again)
    assert made.context.counted(again).moved == Moved(500, 0)


def test_a_download_that_fails_has_moved_what_came(made: World) -> None:
    attempt = claim(made, inputs=[{"uri": made.stores.put_artifact("a", b"x" * 5000), "path": "a"}])
    workspace.apply(made.context, attempt)
    with pytest.raises(JobFault, match="disk budget"):  # the reserved thousand bytes are not those of requires.disk
        stage_in.apply(made.context, msgspec.structs.replace(attempt, table={**attempt.table, "requires": {"disk": 9}}))
    assert made.context.counted(attempt).moved == Moved(5000, 0)


# --- run ------------------------------------------------------------------------------------------------------------


def test_what_is_run_is_what_was_asked_for_and_granted(made: World) -> None:
    keys: dict[str, Any] = {"env": {"SEED": "1"}, "workdir": "sub", "network": "host", "timeout": 60, "grace": 3}
    attempt = claim(made, **keys)
    workspace.apply(made.context, attempt)
    image.apply(made.context, attempt)
    spec = run.container_run(made.context, attempt)
    directory = made.directory(SID)
    assert (spec.attempt_id, spec.command, spec.network) == ("job-1.1", ("true",), "host")
    assert spec.env == {"SEED": "1", "EDGE_JOB": "job-1", "EDGE_ATTEMPT": "1"}
    assert (spec.home, spec.workdir, spec.log, spec.secrets) == (directory / "work", "sub", directory / "log", None)
    assert (spec.timeout, spec.grace, spec.cpus, spec.memory) == (60.0, 3.0, 1.0, 1000)
    assert spec.image == (directory / "image").resolve()
    assert not spec.image.is_symlink()


def test_granted_secrets_are_files_for_the_agents_user_alone(made: World) -> None:
    attempt = claim(made, secrets=["TOKEN"])
    workspace.apply(made.context, attempt)
    place = made.directory(SID) / "secrets"
    for _ in range(2):
        spec = run.container_run(made.context, attempt)
        assert spec.secrets == place
        assert "value of TOKEN" not in repr(spec)
        assert (place / "TOKEN").read_text() == "value of TOKEN"
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE((place / "TOKEN").stat().st_mode) == 0o400


def test_a_secret_that_cannot_be_written_is_the_hosts_fault(made: World) -> None:
    attempt = claim(made, secrets=["TOKEN"])
    workspace.apply(made.context, attempt)
    (made.directory(SID) / "secrets").touch()
    with pytest.raises(HostFault, match="secrets cannot be written to"):
        run.container_run(made.context, attempt)


# --- all together ---------------------------------------------------------------------------------------------------


def test_undoing_all_steps_ends_the_job_leaves_nothing_and_may_be_repeated(made: World) -> None:
    attempt = claim(made, command=["sh", "-c", "echo up; sleep 600"], secrets=["TOKEN"])
    for step in STAGE_STEPS + RUN_STEPS:
        step.apply(made.context, attempt)
    made.wait_for_log(SID, "up")
    for _ in range(2):
        undo_all(made.context, attempt.id)
        assert made.runtime.status(attempt.id) == ABSENT
        assert list((made.state_dir / "attempts").iterdir()) == []


@pytest.mark.parametrize("count", range(5))
def test_undoing_after_any_number_of_steps_leaves_nothing(made: World, count: int) -> None:
    attempt = claim(made, command=["true"])
    for step in (STAGE_STEPS + RUN_STEPS)[:count]:
        step.apply(made.context, attempt)
    undo_all(made.context, attempt.id)
    assert not made.directory(SID).exists()


def test_the_steps_run_in_their_order() -> None:
    assert [step.name for step in STAGE_STEPS + RUN_STEPS] == ["workspace", "image", "stage-in", "run"]


# --- checkpoints ----------------------------------------------------------------------------------------------------

KEYS: dict[str, Any] = {"checkpoint": {"path": "state", "every": 60}}


def checkpoint_bytes(made: World, attempt: Attempt) -> bytes:
    """Return the bytes of the checkpoint that the attempt's record names."""
    record = made.results.attempt(attempt.sid, attempt.n)
    assert record is not None
    assert record.checkpoint is not None
    return made.stores.read_artifact(made.results.uri_of(record.checkpoint))


def test_a_checkpoint_takes_turns_between_two_places(made: World) -> None:
    attempt, names = started(made, **KEYS), []
    for number in range(3):
        (work(made) / "state").write_text(f"state {number}")
        attempt = save_checkpoint(made.context, attempt)
        assert checkpoint_bytes(made, attempt) == f"state {number}".encode()
        assert attempt.checkpoint is not None
        names.append(attempt.checkpoint.name)
    assert names == ["checkpoint-a", "checkpoint-b", "checkpoint-a"]


def test_without_a_path_or_before_the_job_made_it_nothing_is_saved(made: World) -> None:
    plain = started(made)
    assert save_checkpoint(made.context, plain) is plain
    asking = started(made, 2, **KEYS)
    assert save_checkpoint(made.context, asking) is asking
    assert made.stores.artifacts.uris == ()


def test_a_checkpoint_is_known_after_the_agent_was_restarted(made: World) -> None:
    attempt = started(made, **KEYS)
    (work(made) / "state").write_text("state")
    saved = save_checkpoint(made.context, attempt)
    assert from_journal(made.journal.load()[attempt.id]) == saved
    live = made.context.board.find(SID)
    assert live is not None
    assert live.attempt.checkpoint == saved.checkpoint


@pytest.mark.parametrize("kind", ["file", "tree"])
def test_the_next_attempt_starts_from_the_newest_checkpoint(made: World, kind: str) -> None:
    for n, content in ((1, "old"), (2, "new")):
        attempt = started(made, n, **KEYS)
        place = work(made, n) / "state"
        if kind == "tree":
            (place / "sub").mkdir(parents=True)
            place /= "sub/file"
        place.write_text(content)
        save_checkpoint(made.context, attempt)
    started(made, 3, **KEYS)
    fourth = started(made, 4, **KEYS)
    restore(made.context, fourth)
    place = work(made, 4) / "state"
    assert (place / "sub/file" if kind == "tree" else place).read_text() == "new"


def test_the_first_attempt_starts_from_nothing_and_no_attempt_from_its_own(made: World) -> None:
    attempt = started(made, **KEYS)
    restore(made.context, attempt)
    (work(made) / "state").write_text("own")
    attempt = save_checkpoint(made.context, attempt)
    (work(made) / "state").unlink()
    restore(made.context, attempt)
    assert list(work(made).iterdir()) == []


def test_an_archive_in_place_of_a_checkpoint_cannot_lead_out(made: World) -> None:
    attempt = started(made, **KEYS)
    (work(made) / "state").mkdir()
    attempt = save_checkpoint(made.context, attempt)
    assert attempt.checkpoint is not None
    made.stores.artifacts.write(made.results.uri_of(attempt.checkpoint), [tar_of(**{"../../evil": b"x"})])
    with pytest.raises(UnsafeArchive):
        restore(made.context, started(made, 2, **KEYS))


def test_a_checkpoint_is_restored_over_the_inputs(made: World) -> None:
    attempt = started(made, **KEYS)
    (work(made) / "state").write_text("from the checkpoint")
    save_checkpoint(made.context, attempt)
    uri = made.stores.put_artifact("state", b"from the input")
    later = started(made, 2, inputs=[{"uri": uri, "path": "state"}], **KEYS)
    stage_in.apply(made.context, later)
    assert (work(made, 2) / "state").read_text() == "from the checkpoint"


def test_what_is_due_is_saved_and_nothing_before(made: World) -> None:
    attempt = started(made, outputs=[{"path": "out", "every": 90}, {"path": "last"}], **KEYS)
    for name in ("state", "out", "last"):
        (work(made) / name).write_text(name)
    saver, seen = Saver(made.context), []
    for _ in range(7):
        before = set(made.stores.artifacts.uris)
        attempt = saver.step(attempt)
        seen.append(sorted(uri.rpartition("/")[2] for uri in set(made.stores.artifacts.uris) - before))
        made.clock.advance(30)
    assert seen == [[], [], ["checkpoint-a"], ["out"], ["checkpoint-b"], [], []]


@pytest.mark.parametrize("part", ["artifacts", "results", "journal"])
def test_a_store_or_disk_that_fails_costs_one_turn_not_the_job(made: World, part: str) -> None:
    attempt, saver = started(made, **KEYS), Saver(made.context)
    (work(made) / "state").write_text("state")
    saver.step(attempt)
    broken: Any = {"artifacts": made.stores.artifacts, "results": made.stores.result_records, "journal": made.journal}
    made.clock.advance(60)
    broken[part].down = True
    attempt = saver.step(attempt)
    broken[part].down = False
    made.clock.advance(60)
    attempt = saver.step(attempt)
    assert checkpoint_bytes(made, attempt) == b"state"


def test_a_job_goes_on_from_where_the_last_host_saved_it(made: World) -> None:
    """The whole way: saved while running, lost with the host, restored by the next attempt."""
    script = "if [ -e state ]; then cat state > out; else echo half > state; echo saved; sleep 600; fi"
    sid = made.submit(script, outputs=[{"path": "out"}], **KEYS)
    task = made.start_one()
    made.wait_for_log(sid, "saved")

    def has_checkpoint() -> bool:
        made.clock.advance(61)
        made.renew()
        return bool(made.attempts(sid)[0].checkpoint)

    wait_until(has_checkpoint, 20)
    made.runtime.lose(f"{sid}.1")
    task.join(20)
    made.until_over()
    assert made.artifact(sid, "outputs/out") == b"half\n"


def test_the_last_word_on_an_attempt_names_its_checkpoint_after_a_restart_too(made: World) -> None:
    attempt = started(made, **KEYS)
    (work(made) / "state").write_text("state")
    save_checkpoint(made.context, attempt)
    found = made.restart(rebooted=True, follow_up=False)
    assert [each.checkpoint and each.checkpoint.name for each in found] == ["checkpoint-a"]
    assert msgspec.structs.asdict(found[0].record())["checkpoint"] == found[0].checkpoint
