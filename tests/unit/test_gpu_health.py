from __future__ import annotations

import itertools
import random

import msgspec
import pytest
from agent.gpu_health import (
    MOST_BETWEEN,
    SLOW_FOR,
    Pace,
    is_momentary,
    is_same,
    label,
    needs_samples,
    paces,
    remembered,
    trouble_of,
    units_of,
    withdrawn,
    without_slow,
)
from agent.model.capabilities import Gpu
from agent.probes import reasons

HOT = ("heat",)
A10 = Gpu(
    vendor="nvidia", kind="discrete", name="NVIDIA A10", uuid="GPU-a", pci="0000:01:00.0", compute_capability="8.6",
    memory_bytes=24, driver="550.54", usable=True, units=("GPU-a",),
)  # fmt: skip
A100 = msgspec.structs.replace(A10, uuid="GPU-b", pci="0000:02:00.0", units=("MIG-1", "MIG-2"))
ORIN = Gpu(vendor="nvidia", kind="integrated", name="Orin (nvgpu)", uuid="0-1", usable=True, units=("0-1",))
RADEON = Gpu(vendor="amd", kind="discrete", pci="0000:09:00.0", usable=False, reason=reasons.NOT_SCHEDULABLE)


def on_the_bus(gpu: Gpu, reason: str) -> Gpu:
    """Return what is seen of a GPU that its driver does not show."""
    return reasons.judged(Gpu(vendor="nvidia", kind="discrete", pci=gpu.pci), reason)


def paced(*samples: tuple[float, tuple[str, ...] | None]) -> dict[str, Pace]:
    """Return the paces after samples of one GPU: (time, what slows it down)."""
    known: dict[str, Pace] = {}
    for now, slowdowns in samples:
        known = paces(known, {} if slowdowns is None else {"GPU-a": slowdowns}, now)
    return known


def every_minute(start: int, end: int, slowdowns: tuple[str, ...]) -> list[tuple[float, tuple[str, ...] | None]]:
    return [(float(now), slowdowns) for now in range(start, end, 60)]


# --- slowed down ---


@pytest.mark.parametrize(("minutes", "usable"), [(1, True), (5, True), (6, False)])
def test_a_gpu_is_withdrawn_after_five_minutes_of_slowdown(minutes: int, usable: bool) -> None:
    known = paced(*every_minute(0, 60 * minutes + 1, HOT))
    (gpu,) = without_slow((A10,), known)
    assert gpu.usable is usable
    assert (gpu.reason, gpu.units) == ((None, ("GPU-a",)) if usable else (reasons.SLOWED, ()))
    assert (gpu.remedy is None) is usable


def test_one_sample_at_full_speed_starts_the_five_minutes_anew() -> None:
    samples = [*every_minute(0, 300, HOT), (300.0, ()), *every_minute(360, 660, HOT)]
    assert without_slow((A10,), paced(*samples)) == (A10,)


def test_a_gpu_is_given_out_again_after_five_minutes_at_full_speed_and_not_before() -> None:
    slow = every_minute(0, 400, HOT)
    assert not without_slow((A10,), paced(*slow, *every_minute(420, 721, ())))[0].usable
    assert without_slow((A10,), paced(*slow, *every_minute(420, 781, ()))) == (A10,)


def test_a_gpu_that_goes_up_and_down_while_it_is_withdrawn_stays_so() -> None:
    ups_and_downs = [(420.0 + 60 * step, HOT if step % 2 else ()) for step in range(60)]
    assert not without_slow((A10,), paced(*every_minute(0, 400, HOT), *ups_and_downs))[0].usable


def test_what_was_between_two_samples_far_apart_is_not_known() -> None:
    assert without_slow((A10,), paced((0.0, HOT), (SLOW_FOR + MOST_BETWEEN, HOT))) == (A10,)


def test_samples_that_tell_nothing_change_nothing() -> None:
    known = paced(*every_minute(0, 241, HOT), (300.0, None), (361.0, HOT))
    assert not without_slow((A10,), known)[0].usable
    assert paced((0.0, None)) == {}


def test_only_the_gpu_that_is_slow_is_withdrawn_and_its_own_reason_stays() -> None:
    known = paced(*every_minute(0, 400, HOT))
    lost = reasons.judged(A10, reasons.LOST)
    assert without_slow((A100, RADEON, ORIN), known) == (A100, RADEON, ORIN)
    assert without_slow((lost,), known) == (lost,)


@pytest.mark.parametrize("seed", range(50))
def test_no_gpu_changes_its_standing_twice_within_five_minutes(seed: int) -> None:
    dice, known, now, changes = random.Random(seed), dict[str, Pace](), 0.0, [-SLOW_FOR]
    for _ in range(500):
        now += dice.choice((10, 60, 60, 60, 300))
        before = without_slow((A10,), known)
        known = paces(known, dice.choice(({"GPU-a": HOT}, {"GPU-a": HOT}, {"GPU-a": ()}, {})), now)
        if without_slow((A10,), known) != before:
            changes.append(now)
    assert all(later - earlier > SLOW_FOR for earlier, later in itertools.pairwise(changes))


# --- lost ---


def test_one_gpu_is_known_by_uuid_by_address_or_as_the_only_integrated_one() -> None:
    assert is_same(A10, msgspec.structs.replace(A10, pci="0000:05:00.0"))
    assert is_same(A10, on_the_bus(A10, reasons.LOST))
    assert is_same(ORIN, Gpu(vendor="nvidia", kind="integrated"))
    assert not is_same(A10, A100)
    assert not is_same(Gpu(vendor="nvidia", kind="discrete"), Gpu(vendor="nvidia", kind="discrete"))
    assert not is_same(A10, msgspec.structs.replace(A10, vendor="amd"))


def test_a_gpu_that_is_gone_stays_listed_as_lost() -> None:
    found = remembered((A10, A100, RADEON), (A100,))
    assert found[0] == A100
    assert found[1] == reasons.judged(A10, reasons.LOST)
    assert (found[1].usable, found[1].reason, found[1].units, len(found)) == (False, "gpu-lost", (), 2)
    assert found[1].remedy
    assert remembered(found, (A100,)) == found


def test_a_gpu_that_comes_back_is_what_it_was() -> None:
    assert remembered(remembered((A10, A100), (A100,)), (A10, A100)) == (A10, A100)


@pytest.mark.parametrize("reason", [reasons.LOST, reasons.TIMEOUT, reasons.MISMATCH])
def test_a_gpu_whose_driver_says_nothing_keeps_its_facts(reason: str) -> None:
    (found,) = remembered((A10,), (on_the_bus(A10, reason),))
    assert found == reasons.judged(A10, reason)


def test_a_gpu_that_can_be_used_is_what_its_driver_says_now() -> None:
    upgraded = msgspec.structs.replace(A10, driver="560.1", memory_bytes=25, name="A10")
    assert remembered((A10,), (upgraded,)) == (upgraded,)
    assert remembered((reasons.judged(A10, reasons.MISMATCH),), (upgraded,)) == (upgraded,)


def test_another_card_in_the_same_slot_takes_its_place() -> None:
    other = msgspec.structs.replace(A10, uuid="GPU-c", units=("GPU-c",))
    assert remembered((A10,), (other,)) == (other,)
    refused = reasons.judged(other, reasons.PROHIBITED)
    assert remembered((A10,), (refused,)) == (refused,)


@pytest.mark.parametrize("reason", [reasons.TIMEOUT, reasons.NO_DRIVER])
def test_a_driver_that_shows_less_may_do_so_for_a_moment(reason: str) -> None:
    assert is_momentary((A10, A100), (A100,))
    assert is_momentary((A10, A100), (A10, on_the_bus(A100, reason)))


@pytest.mark.parametrize("reason", [reasons.LOST, reasons.MISMATCH, reasons.NO_PERMISSION, reasons.BUSY])
def test_what_a_driver_says_itself_is_no_moment(reason: str) -> None:
    assert not is_momentary((A10,), (on_the_bus(A10, reason),))


def test_what_could_not_be_used_before_is_no_loss_of_a_moment() -> None:
    assert not is_momentary((reasons.judged(A10, reasons.TIMEOUT), RADEON), ())
    assert not is_momentary((A10,), (A10, A100))


# --- who is looked at, and who is told ---


def test_gpus_are_looked_at_where_it_can_tell_something() -> None:
    assert needs_samples((RADEON, A10))
    assert needs_samples((reasons.judged(A10, reasons.SLOWED),))
    without_nvml = msgspec.structs.replace(ORIN, uuid=None, units=("igpu0",))
    assert not needs_samples((RADEON, ORIN, without_nvml, reasons.judged(A10, reasons.LOST)))


def test_only_what_can_be_used_has_units() -> None:
    assert units_of((A10, A100, RADEON)) == {"GPU-a": A10, "MIG-1": A100, "MIG-2": A100}
    assert units_of((reasons.judged(A100, reasons.LOST),)) == {}


def test_a_job_is_told_what_became_of_its_unit() -> None:
    known = units_of((A10, A100))
    lost = reasons.judged(A100, reasons.LOST)
    assert trouble_of("MIG-1", known, (A10, A100)) is None
    assert trouble_of("MIG-1", known, (A10, lost)) == "NVIDIA A10 at 0000:02:00.0: gpu-lost"
    assert trouble_of("GPU-a", {}, (reasons.judged(A10, reasons.LOST),)) == "NVIDIA A10 at 0000:01:00.0: gpu-lost"
    divided_anew = msgspec.structs.replace(A100, units=("MIG-7",))
    assert trouble_of("MIG-1", known, (A10, divided_anew)) == "MIG-1 is no longer there"
    assert trouble_of("MIG-1", {}, ()) == "MIG-1 is no longer there"


def test_withdrawn_is_what_could_be_granted_before() -> None:
    lost = reasons.judged(A100, reasons.LOST)
    assert withdrawn(units_of((A10, A100)), (A10, lost, RADEON)) == (lost,)
    assert withdrawn({}, (lost, RADEON)) == ()


def test_people_read_what_a_gpu_is_and_where() -> None:
    assert label(A10) == "NVIDIA A10 at 0000:01:00.0"
    assert label(ORIN) == "Orin (nvgpu) 0-1"
    assert label(Gpu(vendor="nvidia")) == "nvidia"
