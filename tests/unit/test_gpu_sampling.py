"""When GPUs are looked at, and whose use the samples become."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from agent.attempt import Attempt, Ending, State
from agent.board import Board
from agent.gpu_sampling import GpuSampling, GpuUses
from agent.model.gpu_use import UnitSample
from agent.model.records import Outcome
from agent.model.share import Share
from agent.model.usage import Usage

from tests.fakes import FakeGpuSamples
from tests.worlds import world


def attempt(sid: str = "a", *units: str, state: State = State.STARTED) -> Attempt:
    return Attempt(
        sid=sid,
        n=1,
        token="t",
        host="h",
        queue="q",
        handle="h",
        boot_id="b",
        claimed_at=1.0,
        table={"name": sid},
        arch="amd64",
        reserved=Share(1.0, gpus=units or ("GPU-1",)),
        state=state,
    )


class Room:
    """A sampling over the fake, and the board that it looks at."""

    def __init__(self) -> None:
        self.board, self.samples, self.uses = Board(), FakeGpuSamples(), GpuUses()
        self._sampling = GpuSampling(self.board, self.samples, self.uses)

    def at(self, now: float, **units: int) -> None:
        """Take a turn in which a sample shows these bytes of units."""
        if units:
            self.samples.coming.append({name: UnitSample(memory_bytes=size) for name, size in units.items()})
        self._sampling.step(now)

    def wanted(self) -> tuple[str, ...] | None:
        """Return the units that are sampled."""
        return self.samples.wanted

    def end(self) -> None:
        self._sampling.end()

    def memory(self, sid: str = "a") -> int | None:
        return self.uses.of(f"{sid}.1").added_to(Usage()).gpu_memory_bytes


@pytest.fixture
def room() -> Room:
    return Room()


def test_nothing_is_sampled_where_no_job_with_gpus_runs(room: Room) -> None:
    room.at(0.0)
    room.board.show(msgspec.structs.replace(attempt("none"), reserved=Share(1.0)))
    room.board.show(attempt("claimed", state=State.CLAIMED))
    room.at(1.0)
    assert room.wanted() is None


def test_one_source_samples_the_units_of_all_jobs_and_ends_with_the_last_one(room: Room) -> None:
    first, second = attempt("a", "GPU-2"), attempt("b", "GPU-1", "MIG-3")
    for each in (first, second):
        room.board.show(each)
    room.at(0.0)
    assert room.wanted() == ("GPU-1", "GPU-2", "MIG-3")
    room.board.show(over(second))
    room.at(1.0)
    assert room.wanted() == ("GPU-2",)
    room.board.show(over(first))
    room.at(2.0)
    assert room.wanted() is None


def over(one: Attempt) -> Attempt:
    return one.ended(Ending(Outcome.SUCCEEDED))


def test_each_job_gets_the_use_of_its_own_units(room: Room) -> None:
    room.board.show(attempt("a", "GPU-1"))
    room.board.show(attempt("b", "GPU-2"))
    room.at(0.0, **{"GPU-1": 5, "GPU-2": 7})
    room.at(1.0, **{"GPU-1": 3, "GPU-2": 9})
    assert (room.memory("a"), room.memory("b")) == (5, 9)


def test_a_sample_without_one_of_the_units_says_nothing_of_the_job(room: Room) -> None:
    room.board.show(attempt("a", "GPU-1", "GPU-2"))
    room.at(0.0, **{"GPU-1": 5})
    assert room.memory() is None


def test_the_use_is_kept_until_the_attempt_is_over(room: Room) -> None:
    one = attempt()
    room.board.show(one)
    room.at(0.0, **{"GPU-1": 5})
    room.board.show(over(one))
    room.at(1.0)
    assert room.memory() == 5
    room.board.show(msgspec.structs.replace(over(one), state=State.SETTLED))
    room.at(2.0)
    assert room.memory() is None


def test_a_source_that_fails_is_tried_again_with_growing_pauses(room: Room) -> None:
    room.board.show(attempt())
    tries: list[float] = []
    room.samples.problem = "the driver hangs"
    for second in range(40):
        room.samples.wanted = ()
        room.at(float(second))
        if room.samples.wanted is None:
            tries.append(float(second))
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert len(pauses) > 2
    assert pauses == sorted(set(pauses)), "each pause is longer than the one before"
    room.samples.problem = None
    room.at(1000.0, **{"GPU-1": 5})
    assert room.memory() == 5


def test_trouble_is_told_once(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    room.board.show(attempt())
    room.samples.problem = "the driver hangs"
    for second in range(40):
        room.at(float(second))
    assert [record.levelname for record in caplog.records if record.__dict__.get("event")] == ["WARNING"]


def test_the_source_ends_with_the_agent(room: Room) -> None:
    room.board.show(attempt())
    room.at(0.0)
    room.end()
    assert room.wanted() is None


# --- in the record of the attempt ---


@pytest.mark.parametrize(
    ("seen", "expected"),
    [((), (None, None, None)), ((UnitSample(memory_bytes=7, utilization=0.5),), (7, 0.5, 1))],
    ids=["unseen", "seen"],
)
def test_what_was_seen_is_in_the_record_and_what_was_not_is_not_known(
    tmp_path: Path, seen: tuple[UnitSample, ...], expected: tuple[Any, ...]
) -> None:
    made = world(tmp_path)
    sid = made.submit("echo up; while [ ! -e go ]; do sleep 0.02; done")
    task = made.start_one()
    made.wait_for_log(sid, "up")
    for sample in seen:
        use = made.context.gpu_uses.of(f"{sid}.1").plus([sample], lambda pid: False)
        made.context.gpu_uses.set(f"{sid}.1", use)
    made.tell(sid, "go")
    task.join(30)
    usage = made.commit(sid).usage
    assert usage is not None
    assert (usage.gpu_memory_bytes, usage.gpu_utilization, usage.gpu_samples) == expected
    assert usage.ended_by == "itself"
