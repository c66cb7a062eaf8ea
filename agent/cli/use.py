"""What jobs used, in words."""

from __future__ import annotations

from collections.abc import Iterator

from agent.model.units import show_duration, show_size
from agent.model.usage import Totals, Usage, Whose


def show_usage(used: Usage) -> str:
    """Return one line about one attempt; what is not known is left out."""
    return ", ".join(_used(used)) + f"; {_moved(used.bytes_in, used.bytes_out)}" + _ended(used)


def show_totals(totals: Totals) -> str:
    """Return one line about all attempts that ended; empty when none has."""
    if not totals.jobs_total:
        return ""
    outcomes = ", ".join(f"{number} {outcome}" for outcome, number in sorted(totals.jobs_total.items()))
    moved = _moved(totals.bytes_in_total, totals.bytes_out_total)
    return f"{outcomes}; {totals.cpu_seconds_total:.1f} s of CPU time; {moved}"


def _used(used: Usage) -> Iterator[str]:
    if used.cpu_s is None and used.wall_s is None:
        yield "no use was measured"
    if used.cpu_s is not None:
        yield f"{used.cpu_s:.1f} s of CPU time" + ("" if used.wall_s is None else f" in {show_duration(used.wall_s)}")
    if used.peak_memory_bytes is not None:
        yield f"at most {show_size(used.peak_memory_bytes)} of memory"
    if used.gpu_memory_bytes is not None:
        yield f"at most {show_size(used.gpu_memory_bytes)} of GPU memory{_whose(used.gpu_memory_of)}"
    if used.gpu_utilization is not None:
        peak = "" if used.gpu_peak_utilization is None else f" (at most {used.gpu_peak_utilization:.0%})"
        yield f"GPUs busy {used.gpu_utilization:.0%} of the time{peak}{_whose(used.gpu_utilization_of)}"


def _whose(whose: Whose | None) -> str:
    """NVML does not tell everywhere what the job's own processes use."""
    return " by all on them" if whose == "unit" else ""


def _moved(bytes_in: int, bytes_out: int) -> str:
    return f"{show_size(bytes_in)} fetched, {show_size(bytes_out)} stored"


def _ended(used: Usage) -> str:
    if used.ended_by is None:
        return ""
    return "; ended by itself" if used.ended_by == "itself" else f"; ended from outside: {used.ended_by}"
