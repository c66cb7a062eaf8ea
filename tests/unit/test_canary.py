from __future__ import annotations

from pathlib import Path

import pytest
from agent.attempt import Attempt, Ending, Event
from agent.board import Live, Mode
from agent.canary import FAULTY_AFTER, LOOK, Canary, failed_in_a_row, run_canary
from agent.errors import HostFault, RuntimeUnavailable
from agent.model.records import Outcome
from agent.model.share import Share
from agent.model.usage import Usage

from tests.worlds import BACK_OFF, IMAGE, QUEUE, RANDOM, World, world


@pytest.fixture
def made(tmp_path: Path) -> World:
    return world(tmp_path)


def ended(sid: str, outcome: Outcome, *, ran: bool = True) -> Attempt:
    """An attempt whose container was seen to end, or that never had one."""
    plain = Attempt(sid, 1, "token", "host-a", QUEUE, "h", "boot", 0.0, {"image": IMAGE}, "amd64", Share())
    usage = Usage() if ran else None
    return plain.ended(Ending(outcome, f"{sid} is {outcome.value}", usage=usage))


def ends(*named: tuple[str, Outcome]) -> tuple[Live, ...]:
    return tuple(Live(ended(sid, outcome)) for sid, outcome in named)


BAD, GOOD, STOPPED, LOST = Outcome.SETUP_FAILED, Outcome.FAILED, Outcome.STOPPED, Outcome.LOST


@pytest.mark.parametrize(
    ("ended", "failed"),
    [
        ((), set()),
        ((("a", BAD), ("b", BAD)), {"a", "b"}),
        ((("a", BAD), ("a", BAD), ("a", BAD)), {"a"}),
        ((("a", BAD), ("b", GOOD), ("c", BAD)), {"c"}),
        ((("a", BAD), ("b", STOPPED), ("c", LOST), ("d", BAD)), {"a", "d"}),
        ((("a", BAD), ("b", Outcome.SUCCEEDED)), set()),
    ],
)
def test_jobs_count_since_one_got_further_than_set_up(ended: tuple[tuple[str, Outcome], ...], failed: set[str]) -> None:
    assert failed_in_a_row(ends(*ended)) == failed


@pytest.mark.parametrize("outcome", [GOOD, Outcome.CANCELLED, Outcome.EXPIRED])
def test_a_job_that_ended_before_its_container_shows_nothing_of_the_host(outcome: Outcome) -> None:
    between = Live(ended("b", outcome, ran=False))
    assert failed_in_a_row((*ends(("a", BAD)), between, *ends(("c", BAD)))) == {"a", "c"}


def test_a_job_that_was_cancelled_may_have_been_so_before_it_was_set_up() -> None:
    assert failed_in_a_row(ends(("a", BAD), ("b", Outcome.CANCELLED), ("c", BAD))) == {"a", "c"}


class Watched:
    """A canary whose container works or not, as a test says."""

    def __init__(self, made: World) -> None:
        self.made = made
        self.works = False
        self.runs = 0
        self.canary = Canary(made.context, self._run)

    def _run(self) -> None:
        self.runs += 1
        if not self.works:
            raise HostFault("the canary container ended as exited: FATAL")

    def fail(self, *sids: str) -> None:
        """Let jobs fail in set-up."""
        for sid in sids:
            attempt = ended(sid, BAD)
            self.made.context.board.show(attempt.on(Event.GIVE_BACK))

    def step(self) -> float:
        """Return the seconds until the next turn."""
        now = self.made.clock.boottime()
        return self.canary.step(now) - now

    def pause(self) -> float:
        """Let turns follow until the next try; return the seconds that it took."""
        before, runs = self.made.clock.boottime(), self.runs
        while self.runs == runs:
            self.made.clock.advance(self.step() / 2)
        return self.made.clock.boottime() - before

    @property
    def mode(self) -> Mode:
        return self.made.context.board.mode

    @property
    def name(self) -> str:
        """The name of the mode."""
        return self.mode.name


@pytest.fixture
def watched(made: World) -> Watched:
    return Watched(made)


def test_a_host_that_fails_three_jobs_in_a_row_takes_no_more_work(watched: Watched) -> None:
    watched.fail("a", "b")
    watched.step()
    assert watched.mode.takes_work
    watched.fail("c")
    watched.step()
    assert watched.name == "faulty"
    assert watched.mode.reason == f"{FAULTY_AFTER} jobs in a row could not be set up: c is setup-failed"
    assert not watched.mode.takes_work


def test_jobs_that_are_given_back_before_the_start_marker_make_a_host_faulty(watched: Watched) -> None:
    made = watched.made
    sids = [made.submit() for _ in range(FAULTY_AFTER)]
    (made.state_dir.parent / "tiny.sif").unlink()
    for _ in sids:
        made.run_one()
    watched.step()
    assert (watched.name, sorted(made.waiting())) == ("faulty", sids)
    assert "no such image" in (watched.mode.reason or "")


def test_stores_that_do_not_answer_while_staging_are_no_fault_of_the_host(watched: Watched) -> None:
    made = watched.made
    inputs = [{"uri": made.stores.put_artifact("data", b"x"), "path": "data"}]
    sids = [made.submit("true", inputs=inputs) for _ in range(FAULTY_AFTER)]
    made.stores.artifacts.down = True
    for _ in sids:
        made.run_one()
    made.stores.artifacts.down = False
    watched.step()
    assert (watched.name, sorted(made.waiting())) == ("ready", sids)
    assert {made.attempts(sid)[0].outcome for sid in sids} == {Outcome.DEFERRED}


def test_one_job_that_fails_again_and_again_is_no_fault_of_the_host(watched: Watched) -> None:
    watched.fail("a", "a", "a", "a")
    watched.step()
    assert (watched.name, watched.runs) == ("ready", 0)


def test_a_faulty_host_is_tried_with_growing_pauses_until_a_container_runs(watched: Watched) -> None:
    watched.fail("a", "b", "c")
    watched.pause()
    for failures in (1, 2, 3):
        assert watched.pause() == pytest.approx(BACK_OFF.delay(failures, RANDOM), abs=LOOK)
    watched.works = True
    watched.pause()
    watched.step()
    assert (watched.name, watched.mode.reason) == ("ready", None)
    assert watched.runs == 5


def test_the_reason_is_that_of_the_last_job_that_failed(watched: Watched) -> None:
    watched.fail("a", "b", "c")
    watched.made.context.board.show(ended("d", STOPPED).on(Event.GIVE_BACK))
    watched.step()
    assert (watched.mode.reason or "").endswith("c is setup-failed")


def test_a_host_that_was_faulty_when_the_agent_started_is_tried_at_once(watched: Watched) -> None:
    watched.made.context.board.set_mode(Mode("faulty", "as before"))
    watched.works = True
    watched.step()
    assert (watched.name, watched.runs) == ("ready", 1)


def test_an_operator_who_resumes_has_looked_after_what_failed(watched: Watched) -> None:
    watched.fail("a", "b", "c")
    watched.step()
    assert (watched.name, watched.runs) == ("faulty", 1)
    watched.made.context.board.set_mode(Mode("ready"))
    watched.step()
    watched.fail("d", "e")
    watched.step()
    assert (watched.name, watched.runs) == ("ready", 1)
    watched.fail("f")
    watched.step()
    assert (watched.name, watched.runs) == ("faulty", 2)


def test_after_it_passed_earlier_failures_count_no_more(watched: Watched) -> None:
    watched.works = True
    watched.fail("a", "b", "c")
    watched.made.clock.advance(1)
    watched.step()
    watched.step()
    assert (watched.name, watched.runs) == ("ready", 1)
    watched.made.clock.advance(1)
    watched.fail("d", "e")
    watched.step()
    assert watched.name == "ready"
    watched.fail("f")
    watched.works = False
    watched.step()
    assert watched.name == "faulty"


def test_a_paused_host_is_left_in_peace(watched: Watched) -> None:
    watched.made.context.board.set_mode(Mode("paused"))
    watched.fail("a", "b", "c")
    watched.step()
    assert (watched.name, watched.runs) == ("paused", 0)


def test_a_pause_while_the_container_runs_is_not_overruled(made: World) -> None:
    paused = Mode("paused", "by the operator")
    canary = Canary(made.context, lambda: made.context.board.set_mode(paused))
    made.context.board.set_mode(Mode("faulty"))
    canary.step(0.0)
    assert made.context.board.mode == paused


# --- the container --------------------------------------------------------------------------------------------------


def build(place: Path) -> None:
    place.write_text("an image")


def test_a_container_that_runs_leaves_nothing_and_the_image_is_built_once(made: World) -> None:
    built: list[Path] = []

    def counted(place: Path) -> None:
        built.append(place)
        build(place)

    for _ in range(2):
        run_canary(made.context.runtime, made.state_dir, counted)
    assert built == [made.state_dir / "canary.sif"]
    assert list((made.state_dir / "attempts").iterdir()) == []


def test_a_container_that_does_not_run_is_told_and_leaves_nothing(made: World) -> None:
    with pytest.raises(HostFault, match="the canary container ended as exited: it printed nothing"):
        run_canary(made.context.runtime, made.state_dir, lambda place: None)  # there is no image then
    assert list((made.state_dir / "attempts").iterdir()) == []


def test_an_image_that_does_not_run_is_built_anew_for_the_next_try(made: World) -> None:
    image = made.state_dir / "canary.sif"
    image.write_text("cut off")
    image.chmod(0o600)
    made.context.runtime.start = lambda run: None  # type: ignore[method-assign]
    with pytest.raises(HostFault, match="ended as absent"):
        run_canary(made.context.runtime, made.state_dir, build)
    assert not image.exists()


def test_an_image_that_is_a_directory_stays_as_it_is(made: World) -> None:
    for _ in range(2):
        run_canary(made.context.runtime, made.state_dir, Path.mkdir, "canary-environment")
    assert (made.state_dir / "canary-environment").is_dir()
    assert not (made.state_dir / "canary.sif").exists()


def test_an_image_that_cannot_be_built_is_told(made: World) -> None:
    def fail(place: Path) -> None:
        raise RuntimeUnavailable("mksquashfs is missing")

    with pytest.raises(RuntimeUnavailable, match="mksquashfs"):
        run_canary(made.context.runtime, made.state_dir, fail)


def test_a_state_directory_that_is_full_or_broken_is_told(made: World) -> None:
    (made.state_dir / "attempts").touch()
    with pytest.raises(HostFault, match=r"the canary's directory .*: Not a directory"):
        run_canary(made.context.runtime, made.state_dir, build)
