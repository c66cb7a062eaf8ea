"""Whether a job runs on a host: pure, the same for this host, a recorded one and every host of a fleet.

`examine` checks every requirement and tells of each what is asked for and what is there; `match` folds that into a
verdict. Whoever calls them has looked at the images first: those of `candidate_archs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from agent.matching.allowed import check_policy
from agent.matching.check import Case, Check, FoundImage, Images, MatchPolicy
from agent.matching.images import candidate_archs, check_runtime, chosen_arch, is_emulated
from agent.matching.resources import (
    check_accelerator,
    check_amounts,
    check_constraints,
    check_gpus,
    check_labels,
    usable_units,
)
from agent.matching.units import chosen_units
from agent.matching.uris import is_below
from agent.model.capabilities import Capabilities
from agent.model.job import Job
from agent.model.share import Share
from agent.model.verdict import Standing, Verdict

__all__ = [
    "Check",
    "FoundImage",
    "Images",
    "MatchPolicy",
    "candidate_archs",
    "chosen_units",
    "examine",
    "is_below",
    "match",
    "need",
    "usable_units",
]

_PARTS: tuple[Callable[[Case], Iterable[Check]], ...] = (
    check_runtime,
    check_accelerator,
    check_gpus,
    check_amounts,
    check_labels,
    check_constraints,
    check_policy,
)


def need(job: Job, units: tuple[str, ...] = ()) -> Share:
    """Return what must be reserved to run the job; `units` are the GPU units chosen for it."""
    return Share(job.requires.cpus, job.requires.memory, job.requires.disk, units)


def match(job: Job, host: Capabilities, share: Share, free: Share, images: Images, policy: MatchPolicy) -> Verdict:
    """Return whether the job may start on the host now, with all reasons if not.

    `share` is what the agent may give of the host, `free` what is left of it; `images` has the facts of the image
    of each candidate architecture, None for one that does not exist.
    """
    checks = examine(job, host, share, free, images, policy)
    failed = [check for check in checks if check.standing is not Standing.ACCEPTED]
    if not failed:
        arch = chosen_arch(job, host, images, policy)
        return Verdict(Standing.ACCEPTED, arch=arch, emulated=arch is not None and is_emulated(host, arch))
    never = any(check.standing is Standing.REFUSED_HERE for check in failed)
    standing = Standing.REFUSED_HERE if never else Standing.REFUSED_NOW
    return Verdict(standing, tuple(check.refusal for check in failed))


def examine(
    job: Job, host: Capabilities, share: Share, free: Share, images: Images, policy: MatchPolicy
) -> tuple[Check, ...]:
    """Return every requirement of the job, met or not, in the order in which people ask."""
    case = Case(job, host, share, free, images, policy)
    return tuple(check for part in _PARTS for check in part(case))
