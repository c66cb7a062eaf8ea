from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from agent.claims import pending
from agent.client import Client, JobView, job_view
from agent.deadletters import StoreDeadLetters
from agent.errors import ArtifactMismatch, InvalidInput, JobError, NotFound, StoreUnavailable
from agent.model.job import Job, parse_job
from agent.model.records import Artifact, AttemptRecord, Commit, HostRefusal, Outcome, Submission
from agent.model.verdict import Reason, Refusal
from agent.submitting import StoreSubmitter

from tests.worlds import IMAGE, QUEUE, World, world


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr("agent.watching.TICK", 0.02)
    made = world(tmp_path)
    yield made
    made.runtime.close()


@pytest.fixture
def client(made: World) -> Client:
    records = made.stores.records
    submitter, dead_letters = StoreSubmitter(records, made.results), StoreDeadLetters(records, made.clock)
    return Client(QUEUE, submitter, dead_letters, made.results, made.stores.artifacts)


def job(script: str = "true", **keys: object) -> Job:
    return parse_job({"image": IMAGE, "command": ["sh", "-c", script], "name": "train", **keys})


def finished(made: World, client: Client, script: str, *outputs: str) -> str:
    """Submit a job with these outputs and let it run to its end."""
    sid = client.submit(job(script, outputs=[{"path": path} for path in outputs]))
    assert made.run_one() == sid
    return sid


# --- submitting -----------------------------------------------------------------------------------------------------


def test_a_submission_under_an_id_is_one_job_however_often_it_is_repeated(made: World, client: Client) -> None:
    assert [client.submit(job("echo ran >> out; cat out"), sid="nightly") for _ in range(2)] == ["nightly"] * 2
    assert made.waiting() == ["nightly"]
    assert made.run_one() == "nightly"
    assert client.submit(job("echo ran >> out; cat out"), sid="nightly") == "nightly"
    assert made.waiting() == []


@pytest.mark.parametrize("part", ["records", "result_records"])
def test_a_submission_that_was_cut_says_how_it_is_completed(made: World, client: Client, part: str) -> None:
    store = getattr(made.stores, part)
    store.down = True
    with pytest.raises(StoreUnavailable, match=r"`edge-agent submit --id [^`]+` with this job completes it") as caught:
        client.submit(job())
    store.down = False
    (sid,) = re.findall(r"--id (\S+)`", str(caught.value))
    assert client.submit(job(), sid=sid) == sid
    assert client.sids() == (sid,)
    assert made.waiting() == [sid]


@pytest.mark.parametrize("seen", ["running", "refused"])
def test_a_job_that_a_host_has_seen_is_not_put_into_the_queue_again(made: World, client: Client, seen: str) -> None:
    sid = client.submit(job())
    if seen == "running":
        made.overtake(sid, 1)
    else:
        made.results.refuse(sid, REFUSAL)
    made.stores.records.delete(f"pending/any-none/{sid}")
    assert client.submit(job(), sid=sid) == sid
    assert made.waiting() == []


def test_an_id_is_for_one_job_of_one_queue(made: World, client: Client) -> None:
    sid = client.submit(job())
    with pytest.raises(InvalidInput, match=f'"{sid}" is the id of another job'):
        client.submit(job("false"), sid=sid)
    client.queue = "other"
    with pytest.raises(InvalidInput, match=f'job "{sid}" was submitted to queue "{QUEUE}"'):
        client.submit(job(), sid=sid)
    with pytest.raises(InvalidInput, match="is no submission id"):
        client.submit(job(), sid="../etc")


# --- what became of a job -------------------------------------------------------------------------------------------

SUBMISSION = Submission("job-1", {"name": "train"}, "lab", "any-none", 1.0)
FIRST = AttemptRecord("job-1", 1, "host-a", "t", 2.0, "started", 3.0)
LOG = Artifact("log", "job-1/attempts/1/log", 1, "x")
COMMIT = Commit("job-1", 2, "host-b", "t", Outcome.FAILED, 9.0, 4.0, 8.0, 3, "exit code 3", (LOG,))
REFUSAL = HostRefusal("host-c", 1.0, (Refusal(Reason.CPUS, "8 CPUs", "4 CPUs"),))


def test_a_job_that_nobody_took_waits_and_shows_who_refused_it() -> None:
    view = job_view(SUBMISSION, (), None, None, (REFUSAL,))
    assert view == JobView("job-1", "train", "lab", "waiting", "any-none", 1.0, refusals=(REFUSAL,))
    assert not view.is_over


@pytest.mark.parametrize("state", ["claimed", "started"])
def test_a_job_that_is_with_a_host_shows_which_and_since_when(state: str) -> None:
    attempt = msgspec.structs.replace(FIRST, state=state)
    view = job_view(SUBMISSION, (attempt,), None, None, ())
    assert (view.state, view.host, view.started_at, view.attempts) == (state, "host-a", 3.0, 1)
    assert not view.is_over


def test_a_job_that_was_given_back_waits_again_and_says_why() -> None:
    attempt = msgspec.structs.replace(FIRST, outcome=Outcome.SETUP_FAILED, reason="no space", artifacts=(LOG,))
    view = job_view(SUBMISSION, (attempt,), None, None, ())
    assert (view.state, view.host, view.reason) == ("waiting", None, "attempt 1 on host-a: no space")
    assert view.artifacts == (LOG,)
    assert not view.is_over


def test_the_newest_attempt_counts() -> None:
    over = msgspec.structs.replace(FIRST, outcome=Outcome.LOST)
    view = job_view(SUBMISSION, (over, msgspec.structs.replace(FIRST, n=2, host="host-b")), None, None, ())
    assert (view.state, view.host, view.attempts) == ("started", "host-b", 2)


def test_a_committed_job_is_over_and_shows_its_result() -> None:
    view = job_view(SUBMISSION, (FIRST,), COMMIT, None, ())
    assert (view.state, view.host, view.exit_code, view.reason) == ("failed", "host-b", 3, "exit code 3")
    assert (view.started_at, view.ended_at, view.artifacts) == (4.0, 8.0, (LOG,))
    assert view.is_over


def test_a_buried_job_is_over_unless_it_has_a_result() -> None:
    view = job_view(SUBMISSION, (FIRST,), None, "cannot be read", ())
    assert (view.state, view.reason, view.is_over) == ("dead", "cannot be read", True)
    assert job_view(SUBMISSION, (FIRST,), COMMIT, "cannot be read", ()).state == "failed"


# --- the whole way --------------------------------------------------------------------------------------------------


def test_a_job_is_submitted_run_and_its_results_are_fetched(made: World, client: Client, tmp_path: Path) -> None:
    sid = client.submit(
        job(
            "echo hello; echo result > out; mkdir -p tree/sub; echo deep > tree/sub/file; ln -s sub tree/link",
            outputs=[{"path": "out"}, {"path": "tree"}],
        ),
        by="eva",
    )
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{8}", sid)
    assert client.find(sid).state == "waiting"
    made.run_one()
    assert client.wait(sid).state == "succeeded"
    assert b"".join(client.log(sid)) == b"hello\n"
    assert b"".join(client.log(sid, 4)) == b"o\n"
    for _ in range(2):
        assert client.fetch(sid, tmp_path / "here") == tuple(
            tmp_path / "here" / name for name in ("log", "out", "tree")
        )
    assert (tmp_path / "here/out").read_text() == "result\n"
    assert (tmp_path / "here/tree/sub/file").read_text() == "deep\n"
    assert (tmp_path / "here/tree/link").readlink() == Path("sub")
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["log", "out", "tree"]


def test_the_time_of_submission_is_stamped_unless_it_is_given(client: Client) -> None:
    stamped, given = client.submit(job()), client.submit(job(submitted_at="2020-01-02T03:04:05Z"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", client.job(stamped).submitted_at or "")
    assert client.job(given).submitted_at == "2020-01-02T03:04:05Z"
    assert abs(client.find(given).submitted_at - time.time()) < 60


def test_all_jobs_are_listed_also_those_dropped_by_hand(made: World, client: Client) -> None:
    sid = client.submit(job())
    dropped = made.submit_raw(b'{"api": "edge-agent/v1", "image": "mem://images/tiny.sif"}')
    assert client.sids() == tuple(sorted((sid, dropped)))
    assert {view.sid: (view.name, view.state) for view in client.jobs()} == {
        sid: ("train", "waiting"),
        dropped: (dropped, "waiting"),
    }
    assert client.job(dropped).image == IMAGE


def test_a_dropped_job_has_its_name_as_soon_as_a_host_has_read_it(made: World, client: Client) -> None:
    body = {"api": "edge-agent/v1", "image": IMAGE, "command": ["true"], "name": "by-hand"}
    sid = made.submit_raw(msgspec.json.encode(body))
    assert client.find(sid).name == sid
    made.run_one()
    assert client.find(sid).name == "by-hand"


def test_a_dropped_file_that_is_no_job_is_told(made: World, client: Client) -> None:
    sid = made.submit_raw(b"no job")
    with pytest.raises(JobError):
        client.job(sid)
    made.run_one()
    view = client.find(sid)
    assert (view.state, view.is_over) == ("dead", True)
    assert view.reason == made.buried(sid)


def test_a_job_that_nobody_knows_is_told_with_the_way_to_find_it(client: Client) -> None:
    with pytest.raises(NotFound, match=r'queue "lab" knows no job "job-9"; `edge-agent jobs` lists them'):
        client.find("job-9")
    with pytest.raises(NotFound, match='queue "lab" has no job "job-9" to read'):
        client.job("job-9")
    with pytest.raises(NotFound):
        client.cancel("job-9")


def test_a_waiting_job_is_cancelled_at_once(made: World, client: Client) -> None:
    sid = client.submit(job())
    client.cancel(sid, "eva")
    assert client.find(sid).state == "cancelled"
    assert pending(made.stores.records) == ()
    assert made.run_one() is None
    with pytest.raises(NotFound, match=f"job {sid} is over already"):
        client.cancel(sid)


def test_a_running_job_is_cancelled_by_its_agent(made: World, client: Client) -> None:
    sid = client.submit(job("echo up; sleep 600"))
    task = made.start_one()
    made.wait_for_log(sid, "up")
    client.cancel(sid)
    assert client.find(sid).state in ("claimed", "started")
    made.renew()
    task.join(20)
    assert client.find(sid).state == "cancelled"


def test_waiting_shows_every_look(made: World, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.looking.SOON", 0.001)
    sid, seen = client.submit(job("exit 3")), []

    def look(view: JobView) -> None:
        seen.append(view.state)
        if len(seen) == 2:
            made.run_one()

    view = client.wait(sid, look)
    assert (seen, view.exit_code) == (["waiting", "waiting", "failed"], 3)


# --- fetching -------------------------------------------------------------------------------------------------------


def test_what_is_not_there_yet_is_told(client: Client, tmp_path: Path) -> None:
    sid = client.submit(job())
    with pytest.raises(NotFound, match=f"no log of job {sid} is saved yet"):
        list(client.log(sid))
    with pytest.raises(NotFound, match=rf"job {sid} \(waiting\) has no results"):
        client.fetch(sid, tmp_path)


def stored(made: World, sid: str, name: str) -> str:
    """Return the URI of an artifact of the job's result."""
    return next(made.results.uri_of(each) for each in made.commit(sid).artifacts if each.name == name)


def test_bytes_that_changed_in_the_store_take_nobodys_place(made: World, client: Client, tmp_path: Path) -> None:
    sid = finished(made, client, "echo x > out", "out")
    made.stores.artifacts.write(stored(made, sid, "outputs/out"), [b"changed"])
    (tmp_path / "out").write_text("from before")
    with pytest.raises(ArtifactMismatch, match="attempts/1/outputs/out has SHA-256"):
        client.fetch(sid, tmp_path)
    assert (tmp_path / "out").read_text() == "from before"


def test_a_link_in_a_tree_comes_back_as_a_link_and_is_not_followed(made: World, client: Client, tmp_path: Path) -> None:
    sid = finished(made, client, f"mkdir out; ln -s {tmp_path} out/away; echo x > out/file", "out")
    for _ in range(2):
        client.fetch(sid, tmp_path / "here")
    assert (tmp_path / "here/out/away").readlink() == tmp_path
    assert not (tmp_path / "file").exists()


def test_outputs_in_directories_keep_their_paths(made: World, client: Client, tmp_path: Path) -> None:
    sid = finished(made, client, "mkdir -p a/b; echo x > a/b/out", "a/b/out")
    assert client.fetch(sid, tmp_path)[-1] == tmp_path / "a/b/out"
    assert (tmp_path / "a/b/out").read_text() == "x\n"


def test_a_log_longer_than_a_piece_is_read_from_any_offset(made: World, client: Client) -> None:
    sid = finished(made, client, "true")
    content = os.urandom(2_500_000)
    made.stores.artifacts.write(stored(made, sid, "log"), [content])
    for offset in (0, 5, 1_048_576, 2_400_000, 2_500_000, 9_999_999):
        assert b"".join(client.log(sid, offset)) == content[offset:]


def test_a_store_that_is_away_is_told_by_every_call(made: World, client: Client, tmp_path: Path) -> None:
    sid = finished(made, client, "true")
    made.stores.result_records.down = made.stores.records.down = True
    for call in (
        lambda: client.submit(job()),
        lambda: client.find(sid),
        lambda: client.jobs(),
        lambda: client.cancel(sid),
        lambda: list(client.log(sid)),
        lambda: client.fetch(sid, tmp_path),
    ):
        with pytest.raises(StoreUnavailable):
            call()
