"""The directories of an attempt:

<state>/attempts/<id>/
    work/       the job's directory: its home and working directory, inputs and outputs (read and write)
    tmp/        the job's /tmp and /var/tmp
    secrets/    the granted secrets, one file each (read only in the job)
    image       link to the image that runs
    log         what the job printed
    live        some of the log is in the results store, for those who follow it
    mark.sh, seccomp.json                      what the runtime reads when it starts the container
    run.json, exit.json, stop.json, marker     the holder's
"""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.attempt import Attempt
from agent.context import Context
from agent.errors import HostFault, JobFault, disk_fault
from agent.steps.step import PATHS_AT_FAULT, Step


def apply(context: Context, attempt: Attempt) -> None:
    """Make the directories; a rest of an earlier life under the same id is removed first."""
    undo(context, attempt.id)
    directory = context.directory(attempt.id)
    try:
        directory.mkdir(parents=True, mode=0o700)
        for name in ("work", "tmp"):
            (directory / name).mkdir(mode=0o700)
        for path in (attempt.job.workdir or ".", *attempt.cargo.directories):
            _make_below(directory / "work", path)
    except OSError as error:
        what = f"{directory} cannot be made: {error.strerror}; free space or mend its permissions"
        raise disk_fault(error, what) from None


def _make_below(work: Path, path: str) -> None:
    try:
        (work / path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in PATHS_AT_FAULT:
            raise JobFault(f'the job\'s directory "{path[:100]}" cannot be made: {error.strerror}') from None
        raise


def undo(context: Context, attempt_id: str) -> None:
    """Remove the attempt's directory with all that is in it."""
    _remove_tree(context.directory(attempt_id))


def _remove_tree(directory: Path) -> None:
    if not directory.exists():
        return
    try:
        shutil.rmtree(directory, onerror=_make_writable_and_retry)
    except OSError as error:
        raise HostFault(f"{directory} cannot be removed: {error.strerror}") from None


def _make_writable_and_retry(function: Callable[..., Any], path: str, failure: Any) -> None:
    """A payload may have taken its own rights on directories away (chmod 0): give them back, once."""
    found = Path(path)
    found.parent.chmod(stat.S_IRWXU)
    if found.is_dir() and not found.is_symlink():
        _make_writable(found)
        shutil.rmtree(found)
    else:
        found.unlink(missing_ok=True)


def _make_writable(directory: Path) -> None:
    directory.chmod(stat.S_IRWXU)
    for each in directory.iterdir():
        if each.is_dir() and not each.is_symlink():
            _make_writable(each)


STEP = Step("workspace", apply, undo)
