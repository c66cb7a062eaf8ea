"""What a step is."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import NamedTuple

from agent.attempt import Attempt
from agent.context import Context

# What making a file says when paths in a job contradict each other, or are too long for any file system.
PATHS_AT_FAULT = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP, errno.ENAMETOOLONG)


class Step(NamedTuple):
    """One step: its name as status shows it, how it is done, how it is undone.

    failed: what a job's log says above the reason when the job is at fault; empty = the name.
    """

    name: str
    apply: Callable[[Context, Attempt], None]
    undo: Callable[[Context, str], None]
    failed: str = ""


def nothing(context: Context, attempt_id: str) -> None:
    """Undo of a step whose traces all lie in the attempt's directory: the workspace removes them with it."""
