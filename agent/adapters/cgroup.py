"""Where job cgroups can be made: a writable part of the cgroup v2 tree, with or without controllers.

A group without controllers limits nothing, but it names every process of a job, whatever session it moved to, and the
kernel kills all of them at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path


def parse_mount(mountinfo: str) -> str | None:
    """Return the mount point of the cgroup v2 tree from the text of /proc/self/mountinfo."""
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.startswith("cgroup2 "):
            return fields.split()[4]
    return None


def parse_own(cgroup: str) -> str | None:
    """Return the own group in the v2 tree ("/system.slice/...") from the text of /proc/self/cgroup."""
    return next((line[3:] for line in cgroup.splitlines() if line.startswith("0::")), None)


def job_groups(state_dir: Path, proc: Path = Path("/proc/self")) -> Path | None:
    """Return the directory below which job cgroups of this state directory go; None where none can be made."""
    try:
        mount, own = parse_mount((proc / "mountinfo").read_text()), parse_own((proc / "cgroup").read_text())
    except OSError:
        return None
    if mount is None or own is None:
        return None
    name = "edge-agent-" + hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:8]
    groups = Path(mount + own.rstrip("/")) / name
    return groups if _is_usable(groups) else None


def _is_usable(groups: Path) -> bool:
    """Try it: permissions, delegation and a kernel with cgroup.kill (5.14) show in no file that can be asked."""
    trial = groups / "trial"
    try:
        trial.mkdir(parents=True, exist_ok=True)
        return (trial / "cgroup.kill").exists()
    except OSError:
        return False
    finally:
        for each in (trial, groups):
            with contextlib.suppress(OSError):
                each.rmdir()
