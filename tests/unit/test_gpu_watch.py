"""GPUs that change while the agent runs: what the profile, the share, the board and the log say of it."""

from __future__ import annotations

import logging

import msgspec
import pytest
from agent.attempt import Attempt, Ending
from agent.board import Board
from agent.gpu_watch import SAMPLE_EVERY, GpuWatch
from agent.ledger import Ledger
from agent.model.capabilities import Capabilities, CpuFacts, Gpu
from agent.model.records import Outcome
from agent.model.share import Share
from agent.presence import RETRY, Presence
from agent.probes import reasons
from agent.probes.gpu import GpuLook

from tests.fakes import FakeAdvertiser
from tests.unit.test_gpu_health import A10, A100, HOT, ORIN, on_the_bus

EVERY = 600.0
LOST = reasons.judged(A10, reasons.LOST)


class Lab:
    """A presence over a host whose GPUs a test changes, with a share of all that can be granted; time by the second."""

    def __init__(self, *gpus: Gpu) -> None:
        self.gpus: tuple[Gpu, ...] | None = gpus
        self.slowdowns: dict[str, tuple[str, ...]] = {}
        self.looks_fail = False
        self.probes = self.looks = 0
        self.now = 0.0
        self.board = Board()
        self.ledger = Ledger(self._share(self._probe()), lambda: 1000)
        self.advertiser = FakeAdvertiser()
        self.presence = Presence(
            self._probe(),
            self._probe,
            self._share,
            self.advertiser,
            self.board,
            self.ledger,
            (),
            EVERY,
            GpuWatch(self._look, self.board),
        )
        self.probes = 0
        for _ in range(2):  # the first turn looks at nothing
            self.presence.profile_step(0.0)

    def _probe(self) -> Capabilities:
        self.probes += 1
        return Capabilities(cpu=CpuFacts(effective=4.0), gpus=self.gpus)

    def _look(self) -> GpuLook | None:
        self.looks += 1
        return None if self.looks_fail else GpuLook(self.gpus or (), self.slowdowns)

    def _share(self, profile: Capabilities) -> Share:
        units = (unit for gpu in profile.gpus or () if gpu.usable for unit in gpu.units)
        return Share(4.0, 1000, 1000, tuple(units))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self.now < end:
            self.now += 1.0
            self.presence.profile_step(self.now)

    def start_job(self, *units: str) -> Attempt:
        """Let a job run that holds units."""
        table = {"image": "file:///a"}
        attempt = Attempt("job", 1, "t", "host", "lab", "h", "b", 1.0, table, "amd64", Share(1.0, 1, 1, units))
        self.ledger.adopt(attempt.id, attempt.reserved)
        self.board.show(attempt, "run")
        return attempt

    def granted(self) -> tuple[str, ...]:
        """Return the units that may be granted."""
        return self.ledger.share.gpus

    def told_last(self) -> tuple[str | None, ...]:
        """Return the reasons of the GPUs in the last announced profile."""
        return self.told[-1]

    @property
    def told(self) -> list[tuple[str | None, ...]]:
        """The reasons of the GPUs, in every announced profile."""
        return [tuple(gpu.reason for gpu in profile.gpus or ()) for profile, _ in self.advertiser.profiles]


def test_a_gpu_that_is_lost_is_withdrawn_within_a_minute() -> None:
    lab = Lab(A10, A100)
    lab.gpus = (LOST, A100)
    lab.run(SAMPLE_EVERY)
    assert lab.presence.profile().gpus == (LOST, A100)
    assert lab.granted() == ("MIG-1", "MIG-2")
    assert lab.told == [(None, None), ("gpu-lost", None)]
    assert (lab.looks, lab.probes) == (1, 1)


def test_a_gpu_that_left_the_bus_is_withdrawn_when_a_second_look_misses_it_too() -> None:
    lab = Lab(A10, A100)
    lab.gpus = (A100,)
    lab.run(SAMPLE_EVERY)
    assert lab.granted() == ("GPU-a", "MIG-1", "MIG-2")
    lab.run(RETRY)
    assert lab.presence.profile().gpus == (A100, LOST)
    assert lab.granted() == ("MIG-1", "MIG-2")
    assert lab.told == [(None, None), (None, "gpu-lost")]


def test_a_driver_that_does_not_answer_once_changes_nothing() -> None:
    lab = Lab(A10, A100)
    lab.gpus = tuple(on_the_bus(gpu, reasons.TIMEOUT) for gpu in (A10, A100))
    lab.run(SAMPLE_EVERY)
    lab.gpus = (A10, A100)
    lab.run(EVERY - SAMPLE_EVERY - 1)
    assert lab.told == [(None, None)]
    assert lab.presence.profile().gpus == (A10, A100)
    assert lab.board.problems() == {}


def test_a_driver_that_does_not_answer_twice_in_a_row_is_believed_and_comes_back_at_once() -> None:
    lab = Lab(A10, A100)
    lab.gpus = tuple(on_the_bus(gpu, reasons.TIMEOUT) for gpu in (A10, A100))
    lab.run(SAMPLE_EVERY + RETRY)
    assert lab.presence.profile().gpus == tuple(reasons.judged(gpu, reasons.TIMEOUT) for gpu in (A10, A100))
    assert lab.granted() == ()
    lab.gpus = (A10, A100)
    lab.presence.look_again()
    lab.run(1)
    assert lab.presence.profile().gpus == (A10, A100)
    assert lab.granted() == ("GPU-a", "MIG-1", "MIG-2")


def test_doubt_is_about_looks_in_a_row() -> None:
    lab = Lab(A10)
    for _ in range(5):
        lab.gpus = ()
        lab.presence.look_again()
        lab.run(1)
        lab.gpus = (A10,)
        lab.run(RETRY)
    assert lab.told == [(None,)]


def test_a_gpu_that_is_slowed_down_for_long_is_withdrawn_and_comes_back() -> None:
    lab = Lab(A10, A100)
    lab.slowdowns = {"GPU-a": HOT, "GPU-b": ()}
    lab.run(SAMPLE_EVERY * 5)
    assert lab.told_last() == (None, None)
    lab.run(SAMPLE_EVERY * 2)
    assert lab.told_last() == ("slowed-down", None)
    assert lab.granted() == ("MIG-1", "MIG-2")
    lab.slowdowns = {"GPU-a": (), "GPU-b": ()}
    lab.run(SAMPLE_EVERY * 7)
    assert lab.granted() == ("GPU-a", "MIG-1", "MIG-2")


def test_a_probe_of_the_whole_host_does_not_give_out_what_is_slowed_down() -> None:
    lab = Lab(A10)
    lab.slowdowns = {"GPU-a": HOT}
    lab.run(SAMPLE_EVERY * 7)
    lab.presence.look_again()
    lab.run(1)
    assert lab.granted() == ()


@pytest.mark.parametrize("gpus", [(), (ORIN,), (LOST,)])
def test_nothing_is_looked_at_between_probes_where_that_tells_nothing(gpus: tuple[Gpu, ...]) -> None:
    lab = Lab(*gpus)
    lab.run(EVERY)
    assert (lab.looks, lab.probes) == (0, 1)


def test_gpus_that_stay_as_they_are_cost_one_look_a_minute_and_no_probe() -> None:
    lab = Lab(A10)
    lab.run(EVERY - 1)
    assert (lab.looks, lab.probes) == (9, 0)


def test_a_look_that_fails_leaves_it_to_a_probe_of_the_whole_host() -> None:
    lab = Lab(A10)
    lab.looks_fail = True
    lab.run(SAMPLE_EVERY)
    assert (lab.looks, lab.probes) == (1, 1)


def test_a_probe_that_knows_no_gpus_is_taken_as_it_is() -> None:
    lab = Lab(A10)
    lab.gpus = None
    lab.presence.look_again()
    lab.run(1)
    assert lab.presence.profile().gpus is None
    assert lab.granted() == ()


# --- what people are told ---


def test_a_job_on_a_lost_gpu_is_marked_and_keeps_running(caplog: pytest.LogCaptureFixture) -> None:
    lab = Lab(A10, A100)
    attempt = lab.start_job("MIG-2")
    lab.gpus = (A10, reasons.judged(A100, reasons.LOST))
    with caplog.at_level(logging.INFO):
        lab.run(SAMPLE_EVERY * 3)
    (live,) = lab.board.live()
    assert (live.trouble, live.stop) == ("NVIDIA A10 at 0000:02:00.0: gpu-lost", None)
    assert list(lab.board.problems()) == ["gpu 0000:02:00.0"]
    (problem,) = lab.board.problems().values()
    assert problem.startswith("NVIDIA A10 at 0000:02:00.0 is not given out: gpu-lost; see `dmesg")
    events = [getattr(record, "event", None) for record in caplog.records]
    assert events == ["gpu-withdrawn", "gpu-of-job"]
    assert getattr(caplog.records[1], "attempt", None) == attempt.id


def test_a_job_on_another_gpu_is_not_marked() -> None:
    lab = Lab(A10, A100)
    lab.start_job("MIG-2")
    lab.gpus = (LOST, A100)
    lab.run(SAMPLE_EVERY)
    assert [live.trouble for live in lab.board.live()] == [None]


def test_when_the_gpu_is_back_the_mark_and_the_problem_go(caplog: pytest.LogCaptureFixture) -> None:
    lab = Lab(A10)
    lab.start_job("GPU-a")
    lab.gpus = (LOST,)
    lab.run(SAMPLE_EVERY)
    assert lab.board.live()[0].trouble is not None
    lab.gpus = (A10,)
    lab.presence.look_again()
    caplog.clear()
    with caplog.at_level(logging.INFO):
        lab.run(2)
    assert (lab.board.live()[0].trouble, lab.board.problems()) == (None, {})
    assert [getattr(record, "event", None) for record in caplog.records] == ["gpu-back"]


def test_where_nothing_is_known_of_gpus_nobody_is_told_anything_new(caplog: pytest.LogCaptureFixture) -> None:
    lab = Lab(A10, A100)
    lab.start_job("GPU-a")
    lab.gpus = (A10, reasons.judged(A100, reasons.LOST))
    lab.run(SAMPLE_EVERY)
    problems = lab.board.problems()
    lab.gpus = None
    lab.presence.look_again()
    caplog.clear()
    lab.run(2)
    assert lab.presence.profile().gpus is None
    assert (lab.board.problems(), lab.board.live()[0].trouble) == (problems, None)
    assert caplog.records == []


def test_a_job_that_an_earlier_agent_left_on_a_lost_gpu_is_marked_at_once() -> None:
    lab = Lab(LOST)
    attempt = Attempt("job", 1, "t", "host", "lab", "h", "b", 1.0, {}, "amd64", Share(1.0, 1, 1, ("GPU-a",)))
    lab.board.show(attempt, "run")
    lab.run(1)
    assert [live.trouble for live in lab.board.live()] == ["NVIDIA A10 at 0000:01:00.0: gpu-lost"]
    assert lab.board.problems() == {}


def test_a_job_that_has_ended_is_not_marked_any_more() -> None:
    lab = Lab(A10)
    attempt = lab.start_job("GPU-a")
    lab.board.show(attempt.ended(Ending(Outcome.SUCCEEDED)), "save")
    lab.gpus = (LOST,)
    lab.run(SAMPLE_EVERY)
    assert [live.trouble for live in lab.board.live()] == [None]


def test_a_reserved_unit_that_is_withdrawn_is_free_for_nobody() -> None:
    lab = Lab(A10, A100)
    lab.start_job("GPU-a")
    lab.gpus = (LOST, A100)
    lab.run(SAMPLE_EVERY)
    assert lab.ledger.free().gpus == ("MIG-1", "MIG-2")
    lab.ledger.release("job.1")
    assert lab.ledger.free().gpus == ("MIG-1", "MIG-2")


# --- what is a change ---


@pytest.mark.parametrize(
    ("changes", "news"),
    [
        ({"usable": False, "reason": reasons.LOST, "units": ()}, True),
        ({"usable": False, "reason": reasons.SLOWED, "units": ()}, True),
        ({"units": ("MIG-9",)}, True),
        ({"driver": "560.1"}, True),
        ({}, False),
    ],
)
def test_the_digest_changes_with_what_can_be_granted(changes: dict[str, object], news: bool) -> None:
    one, other = Capabilities(gpus=(A10,)), Capabilities(gpus=(msgspec.structs.replace(A10, **changes),))
    assert (one.digest() != other.digest()) is news
