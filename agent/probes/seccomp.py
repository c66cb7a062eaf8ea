"""The filters of system calls that a process is under, as /proc/PID/status tells."""

from __future__ import annotations

import re
from typing import NamedTuple

_FILTERED = 2  # a mode of seccomp(2)


class Seccomp(NamedTuple):
    """mode: 0 none, 2 filtered, None where the kernel has no such thing. filters: their number (Linux 5.9), or None."""

    mode: int | None
    filters: int | None


def parse_seccomp(status: str) -> Seccomp:
    """Read /proc/PID/status, which may have other lines around it."""
    return Seccomp(_number(status, "Seccomp"), _number(status, "Seccomp_filters"))


def _number(status: str, key: str) -> int | None:
    found = re.search(rf"(?m)^{key}:\s*(\d+)$", status)
    return None if found is None else int(found[1])


def has_more(inside: Seccomp, outside: Seccomp) -> bool | None:
    """Say whether a process in a container has a filter that those outside have not; None = that cannot be told.

    Filters are inherited: an agent in a container of another kind hands its own ones on.
    """
    if inside.mode != _FILTERED:
        return False
    if inside.filters is not None and outside.filters is not None:
        return inside.filters > outside.filters
    return None if outside.mode == _FILTERED else True
