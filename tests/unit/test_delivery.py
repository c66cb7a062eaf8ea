"""What becomes of a finished attempt: saved, committed, published, settled, given back, overtaken or buried."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import msgspec
import pytest
from agent.attempt import Attempt, Ending, State
from agent.delivery import deliver
from agent.errors import EdgeAgentError, InvalidInput, StoreUnavailable
from agent.model.records import Commit, Outcome
from agent.worker import follow, stage_and_launch

from tests.worlds import LEASE, World, world

PUBLISHED = "mem://published/out"


@pytest.fixture
def made(tmp_path: Path) -> World:
    return world(tmp_path)


def finished(made: World, outcome: Outcome = Outcome.SUCCEEDED, script: str = "true", **keys: object) -> Attempt:
    """Return an attempt whose container has ended, with nothing delivered yet."""
    made.submit(script, **keys)
    attempt = stage_and_launch(made.context, made.claimed())
    assert made.runtime.status(attempt.id, 10).exit is not None
    return attempt.ended(Ending(outcome, "because", 0))


# --- what is saved ---


@pytest.mark.parametrize(("code", "names"), [(0, ["log", "outputs/a", "outputs/b"]), (3, ["log", "outputs/a"])])
def test_outputs_are_saved_when_the_job_wants_them(made: World, code: int, names: list[str]) -> None:
    sid = made.submit(f"touch a b; exit {code}", outputs=[{"path": "a"}, {"path": "b", "when": "success"}])
    made.run_one()
    assert made.artifact_names(sid) == names


def test_outputs_that_the_job_did_not_make_are_left_out(made: World) -> None:
    sid = made.submit("touch there", outputs=[{"path": "there"}, {"path": "missing/file"}])
    made.run_one()
    assert made.commit(sid).outcome is Outcome.SUCCEEDED
    assert made.artifact_names(sid) == ["log", "outputs/there"]


def test_a_directory_is_saved_as_one_archive(made: World) -> None:
    sid = made.submit("mkdir -p d/e; echo x > d/e/f", outputs=[{"path": "d"}])
    made.run_one()
    (artifact,) = (each for each in made.commit(sid).artifacts if each.name == "outputs/d")
    assert artifact.kind == "tree"
    with tarfile.open(fileobj=io.BytesIO(made.artifact(sid, "outputs/d"))) as archive:
        files = {member.name.removeprefix("./") for member in archive.getmembers() if member.isfile()}
    assert files == {"e/f"}


def test_an_output_that_leaves_the_jobs_directory_is_not_saved(made: World) -> None:
    sid = made.submit("ln -s /etc/passwd out; ln -s /etc d", outputs=[{"path": "out"}, {"path": "d/passwd"}])
    made.run_one()
    assert made.artifact_names(sid) == ["log"]


@pytest.mark.parametrize("path", ["tree", "tree/1"])
def test_outputs_that_show_far_more_than_the_jobs_disk_are_not_saved_and_fail_it(made: World, path: str) -> None:
    script = "mkdir tree; truncate -s 200M tree/1; echo small > small"
    sid = made.submit(script, requires={"disk": "1MiB"}, outputs=[{"path": path}, {"path": "small"}])
    made.run_one()
    commit = made.commit(sid)
    assert commit.outcome is Outcome.FAILED
    assert commit.reason is not None
    assert commit.reason.startswith(f'output "{path}": more than 66 MiB')
    assert made.artifact_names(sid) == ["log", "outputs/small"]
    assert made.leftovers() == []


def test_artifacts_say_their_size_and_digest(made: World) -> None:
    sid = made.submit("printf abc > out", outputs=[{"path": "out"}])
    made.run_one()
    artifact = made.commit(sid).artifacts[1]
    assert artifact.size == 3
    assert artifact.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_each_attempt_saves_below_its_own_number(made: World) -> None:
    sid = made.submit("echo $EDGE_ATTEMPT; exit 1", retries=1)
    made.until_over()
    uris = [made.results.artifact_uri(sid, n, "log") for n in (1, 2)]
    assert [made.stores.read_artifact(uri) for uri in uris] == [b"1\n", b"2\n"]


# --- what is published ---


def test_an_output_is_published_where_the_job_wants_it(made: World) -> None:
    made.submit("echo x > out", outputs=[{"path": "out", "uri": PUBLISHED}])
    made.run_one()
    assert made.stores.read_artifact(PUBLISHED) == b"x\n"


def test_what_is_given_back_is_not_published(made: World) -> None:
    made.submit("echo x > out; exit 1", outputs=[{"path": "out", "uri": PUBLISHED}], retries=1)
    made.run_one()
    assert PUBLISHED not in made.stores.artifacts.uris
    made.until_over()
    assert made.stores.read_artifact(PUBLISHED) == b"x\n"


def test_publishing_that_fails_is_repeated_without_another_commit(made: World) -> None:
    attempt = finished(made, script="echo x > out", outputs=[{"path": "out", "uri": PUBLISHED}])
    copy_down = CopyDown(made)
    with pytest.raises(StoreUnavailable):
        deliver(made.context, attempt)
    first = made.commit(attempt.sid)
    assert made.waiting() == [attempt.sid], "not off the queue before it is published"
    copy_down.mend()
    (live,) = made.context.board.live()
    assert live.attempt.state is State.COMMITTED
    assert deliver(made.context, live.attempt).state is State.SETTLED
    assert made.commit(attempt.sid) == first
    assert made.stores.read_artifact(PUBLISHED) == b"x\n"
    assert made.waiting() == []
    assert made.leftovers() == []


def test_a_target_that_can_never_be_written_to_is_told_and_does_not_hold_the_job(
    made: World, caplog: pytest.LogCaptureFixture
) -> None:
    attempt = finished(made, script="echo x > out", outputs=[{"path": "out", "uri": PUBLISHED}])
    CopyDown(made, InvalidInput(f'"{PUBLISHED}": no store for "mem:"'))
    assert deliver(made.context, attempt).state is State.SETTLED
    assert made.waiting() == []
    assert "publish-failed" in [getattr(record, "event", None) for record in caplog.records]


class CopyDown:
    """Makes the artifact store refuse to copy, until it is mended."""

    def __init__(self, made: World, error: EdgeAgentError | None = None) -> None:
        self._made, self._whole = made, made.context.artifacts
        self._error = error or StoreUnavailable("no copying today")
        made.change_part("artifacts", self)

    def __getattr__(self, method: str) -> object:
        return getattr(self._whole, method)

    def copy(self, source: str, target: str) -> None:
        raise self._error

    def mend(self) -> None:
        self._made.change_part("artifacts", self._whole)


# --- who has the result ---


def test_delivering_twice_commits_once(made: World) -> None:
    attempt = finished(made)
    assert deliver(made.context, attempt).state is State.SETTLED
    first = made.commit(attempt.sid)
    assert deliver(made.context, attempt).state is State.RELEASED
    assert made.commit(attempt.sid) == first
    assert made.attempts(attempt.sid)[0].outcome is Outcome.SUCCEEDED
    assert made.waiting() == []
    assert made.leftovers() == []


def test_a_commit_whose_answer_was_lost_is_recognized_as_its_own(made: World) -> None:
    attempt = finished(made)
    own = Commit(attempt.sid, 1, made.host, attempt.token, Outcome.SUCCEEDED, 0.0)
    made.results.commit(own)
    assert deliver(made.context, attempt).state is State.SETTLED
    assert made.commit(attempt.sid) == own
    assert made.attempts(attempt.sid)[0].outcome is Outcome.SUCCEEDED


def test_a_late_attempt_is_superseded_by_the_one_that_committed_first(made: World) -> None:
    attempt = finished(made)
    first = Commit(attempt.sid, 2, "rival", "token-of-rival", Outcome.SUCCEEDED, 0.0)
    made.results.commit(first)
    assert deliver(made.context, attempt).state is State.SUPERSEDED
    assert made.commit(attempt.sid) == first
    record = made.attempts(attempt.sid)[0]
    assert (record.outcome, record.state) == (Outcome.SUPERSEDED, "superseded")
    assert made.waiting() == []
    assert made.leftovers() == []


def test_an_attempt_whose_claim_was_never_made_saves_nothing(made: World) -> None:
    attempt = finished(made)
    made.stores.result_records.delete(f"{attempt.sid}/attempts/1")
    assert deliver(made.context, attempt).state is State.RELEASED
    assert made.stores.artifacts.uris == ()
    assert made.results.committed(attempt.sid) is None
    assert made.waiting() == [attempt.sid]


def test_an_attempt_whose_number_another_agent_has_saves_nothing(made: World) -> None:
    attempt = finished(made)
    made.stores.result_records.delete(f"{attempt.sid}/attempts/1")
    made.overtake(attempt.sid, 1)
    assert deliver(made.context, attempt).state is State.RELEASED
    assert made.stores.artifacts.uris == ()
    assert made.attempts(attempt.sid)[0].host == "rival"


# --- the store is down ---


@pytest.mark.parametrize("part", ["artifacts", "result_records", "records"])
def test_results_that_cannot_leave_now_are_delivered_once_later(made: World, part: str) -> None:
    sid = made.submit("echo ran >> out; cat out", outputs=[{"path": "out", "uri": PUBLISHED}])
    down = getattr(made.stores, part)
    attempt = made.claimed()
    started = stage_and_launch(made.context, attempt)
    down.down = True
    follow(made.context, started)
    (live,) = made.context.board.live()
    assert live.waiting is not None
    assert made.context.ledger.free().cpus == made.share.cpus, "only its disk is in use"
    assert made.context.ledger.free().disk < made.share.disk
    assert made.directory(sid).exists()
    down.down = False
    made.until_over()
    assert made.commit(sid).n == 1
    assert len(made.attempts(sid)) == 1
    assert made.artifact(sid, "log") == b"ran\n"
    assert made.stores.read_artifact(PUBLISHED) == b"ran\n"
    assert made.waiting() == []
    assert made.leftovers() == []


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.LOST, Outcome.SETUP_FAILED])
def test_a_late_attempt_that_another_has_overtaken_uses_up_no_retry(made: World, outcome: Outcome) -> None:
    attempt = finished(made, outcome, retries=1)
    made.overtake(attempt.sid, 2)
    assert deliver(made.context, attempt).state is State.SUPERSEDED
    assert [record.outcome for record in made.attempts(attempt.sid)] == [Outcome.SUPERSEDED, None]
    assert made.waiting() == [attempt.sid]
    assert made.leftovers() == []


def test_an_end_that_comes_after_the_take_over_uses_up_no_retry(made: World) -> None:
    sid = made.submit("exit 3", retries=1)
    made.overtake(sid, 1)
    made.clock.advance(LEASE + 1)
    attempt = made.claimed()
    late = msgspec.structs.replace(made.attempts(sid)[0], outcome=Outcome.FAILED)
    made.results.update(late)  # its host looked for a newer attempt before there was one
    ends = [deliver(made.context, attempt.ended(Ending(Outcome.FAILED, "because", 3)))]
    made.clock.advance(LEASE)
    ends.append(deliver(made.context, made.claimed().ended(Ending(Outcome.FAILED, "because", 3))))
    assert [end.state for end in ends] == [State.RELEASED, State.SETTLED]
    assert [record.took_over for record in made.attempts(sid)] == [False, True, False]


def test_a_given_back_job_is_claimable_by_others_only_when_all_is_saved(made: World) -> None:
    attempt = finished(made, Outcome.FAILED, "echo x", retries=1)
    made.stores.artifacts.down = True
    with pytest.raises(StoreUnavailable):
        deliver(made.context, attempt)
    assert made.attempts(attempt.sid)[0].outcome is None
    made.stores.artifacts.down = False
    assert deliver(made.context, attempt).state is State.RELEASED
    assert made.attempts(attempt.sid)[0].outcome is Outcome.FAILED


# --- what cannot be read ---


def test_results_that_a_failing_disk_does_not_give_back_wait_with_the_reason(
    made: World, caplog: pytest.LogCaptureFixture
) -> None:
    attempt = finished(made)
    log = made.context.directory(attempt.id) / "log"
    log.unlink()
    log.mkdir()  # reading it fails
    follow(made.context, attempt)
    (live,) = made.context.board.live()
    assert live.waiting is not None
    assert live.waiting.startswith(f"what attempt {attempt.id} left in ")
    assert "internal-error" not in [getattr(record, "event", None) for record in caplog.records]
    log.rmdir()
    follow(made.context, live.attempt)
    assert made.commit(attempt.sid).outcome is Outcome.SUCCEEDED


def test_a_result_is_stored_once_while_the_journal_fails_and_its_job_stays_until_it_is_noted(made: World) -> None:
    attempt = finished(made)
    made.journal.down = True
    for _ in range(2):
        follow(made.context, attempt)
    assert made.commit(attempt.sid).token == attempt.token
    assert made.waiting() == [attempt.sid]
    assert [live.waiting is not None for live in made.context.board.live()] == [True]
    made.journal.down = False
    made.until_over()
    assert (made.waiting(), made.context.board.live()) == ([], ())
    assert [record.outcome for record in made.attempts(attempt.sid)] == [Outcome.SUCCEEDED], "it has not run again"
