"""What looks at the GPUs of an attempt add up to."""

from __future__ import annotations

from collections.abc import Sequence

from agent.model.gpu_use import GpuUse, OfProcess, UnitSample
from agent.model.usage import Usage

GIB = 1024**3
OWN, FOREIGN = 10, 99


def used(*looks: Sequence[UnitSample]) -> Usage:
    """Return the use of an attempt whose units looked like this, one look after the other."""
    use = GpuUse()
    for units in looks:
        use = use.plus(units, lambda pid: pid == OWN)
    return use.added_to(Usage(cpu_s=1.0))


def unit(memory: int | None = None, share: float | None = None, by_process: bool = True, **own: float) -> UnitSample:
    """Return a look at a unit; own: GiB and share of the attempt's process, where it has one there."""
    processes = {OWN: OfProcess(int(own["gib"] * GIB), own.get("share"))} if "gib" in own else {}
    return UnitSample(memory, share, processes, by_process)


def test_what_nobody_looked_at_is_not_known() -> None:
    assert used() == Usage(cpu_s=1.0)


def test_units_that_do_not_answer_are_no_look() -> None:
    assert used([UnitSample(error="GpuIsLost")]) == Usage(cpu_s=1.0)
    assert used([unit(GIB, 0.5), UnitSample(error="GpuIsLost")]) == Usage(cpu_s=1.0)


def test_memory_is_the_most_and_utilization_the_mean_and_the_most() -> None:
    usage = used([unit(GIB, 0.5)], [unit(3 * GIB, 0.7)], [unit(2 * GIB, 0.0)])
    assert (usage.gpu_memory_bytes, usage.gpu_memory_of) == (3 * GIB, "unit")
    assert (usage.gpu_utilization, usage.gpu_peak_utilization) == (0.4, 0.7)
    assert (usage.gpu_utilization_of, usage.gpu_samples, usage.cpu_s) == ("unit", 3, 1.0)


def test_memory_of_several_units_counts_together_and_their_shares_are_a_mean() -> None:
    usage = used([unit(GIB, 0.5), unit(2 * GIB, 1.0)], [unit(2 * GIB, 0.5), unit(GIB // 2, 0.0)])
    assert (usage.gpu_memory_bytes, usage.gpu_utilization, usage.gpu_peak_utilization) == (3 * GIB, 0.5, 0.75)


def test_what_the_jobs_own_processes_use_goes_before_what_there_is_on_the_unit() -> None:
    looks = [UnitSample(9 * GIB, 0.9, {OWN: OfProcess(GIB, 0.2), FOREIGN: OfProcess(8 * GIB, 0.7)}, by_process=True)]
    usage = used(looks, [unit(9 * GIB, 0.9)])
    assert (usage.gpu_memory_bytes, usage.gpu_memory_of) == (GIB, "job")
    assert (usage.gpu_utilization, usage.gpu_peak_utilization, usage.gpu_utilization_of) == (0.1, 0.2, "job")


def test_processes_that_cannot_be_told_apart_are_not_the_jobs() -> None:
    usage = used([UnitSample(2 * GIB, 0.9, {FOREIGN: OfProcess(GIB, 0.7)}, by_process=True)])
    assert (usage.gpu_memory_bytes, usage.gpu_memory_of) == (2 * GIB, "unit")
    assert (usage.gpu_utilization, usage.gpu_utilization_of) == (0.9, "unit")


def test_memory_may_be_told_of_processes_and_utilization_of_nobody() -> None:
    looks = [UnitSample(2 * GIB, None, {OWN: OfProcess(GIB, None)}, by_process=False)]
    usage = used([unit(GIB, None, by_process=False)], looks)
    assert (usage.gpu_memory_bytes, usage.gpu_memory_of) == (GIB, "job")
    assert (usage.gpu_utilization, usage.gpu_peak_utilization, usage.gpu_utilization_of) == (None, None, None)


def test_shares_of_several_processes_are_at_most_the_whole() -> None:
    processes = {pid: OfProcess(GIB, 0.8) for pid in (10, 11)}
    use = GpuUse().plus([UnitSample(processes=processes, by_process=True)], lambda pid: True)
    assert use.added_to(Usage()).gpu_peak_utilization == 1.0
