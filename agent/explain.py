"""Why a job runs on a host or does not, for people: every requirement, met or not, with what would help."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from agent.matching import Check
from agent.model.verdict import Standing, Verdict

_SENTENCES = {
    Standing.ACCEPTED: "The job can start here now",
    Standing.REFUSED_NOW: "The job fits this host, but not beside what is running now",
    Standing.REFUSED_HERE: "The job cannot run on this host as it is",
}


class Row(msgspec.Struct, frozen=True):
    """One requirement. remedy is empty where it is met; reason is the documented name."""

    requirement: str
    host_has: str
    ok: bool
    remedy: str
    reason: str


def explain(checks: Iterable[Check]) -> tuple[Row, ...]:
    """Return what `matching.examine` found as rows: what is not met first, otherwise in the order of the checks."""
    rows = [Row(check.required, check.found, _is_met(check), check.remedy, check.reason.value) for check in checks]
    return tuple(sorted(rows, key=lambda row: row.ok))


def _is_met(check: Check) -> bool:
    return check.standing is Standing.ACCEPTED


def summary(verdict: Verdict) -> str:
    """Return the verdict as one sentence."""
    sentence = _SENTENCES[verdict.standing]
    if verdict.accepted:
        return f"{sentence}, {'emulating' if verdict.emulated else 'on'} {verdict.arch}."
    return sentence + "."
