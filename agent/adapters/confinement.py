"""What a container gets no hold of although its user may have it: system calls, and files of the kernel.

A payload that makes a user namespace has all rights inside it and can mount the tree of control groups, where its own
limits are files of its own user. And the kernel lets user 0 write its settings without any capability: with
/proc/sys/kernel/core_pattern alone a payload of root's runs programs on the host.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, NamedTuple

_NEW_USER_NAMESPACE = 0x10000000
# No "clone3": its flags lie in memory that a filter cannot read, and C libraries need it for threads. Who makes a
# user namespace with it still cannot mount anything.
_DENIED = (
    *("unshare", "setns", "mount", "umount", "umount2", "pivot_root"),
    *("move_mount", "open_tree", "open_tree_attr", "fsopen", "fsmount", "fsconfig", "fspick", "mount_setattr"),
    *("keyctl", "add_key", "request_key", "syslog", "bpf", "perf_event_open", "userfaultfd"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register"),
    *("open_by_handle_at", "fanotify_init", "quotactl", "quotactl_fd", "acct", "swapon", "swapoff", "reboot"),
    *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load"),
)
_READ_ONLY = (
    *("/proc/acpi", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/mtrr", "/proc/scsi", "/proc/sys"),
    # A mount of its own below /proc/sys, so it stays as it is when that is made read-only.
    *("/proc/sys/fs/binfmt_misc", "/proc/sysrq-trigger"),
)
_HIDDEN = ("/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/timer_list")


class Mask(NamedTuple):
    """What lies over `target` in the container, read-only: a path of the host."""

    source: str
    target: str


def seccomp_profile() -> str:
    """Return the filter of system calls as the runtime reads it (JSON): all are allowed but for a few.

    Programs of 32 bits run on amd64 and arm64, too. A runtime without seccomp ignores it: `doctor` tells.
    """
    return json.dumps(
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "archMap": [
                _family("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
                _family("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
            ],
            "syscalls": [
                {"names": list(_DENIED), "action": "SCMP_ACT_ERRNO"},
                {**_clone(flags=0), "excludes": {"arches": ["s390", "s390x"]}},
                {**_clone(flags=1), "includes": {"arches": ["s390", "s390x"]}},
            ],
        }
    )


def _family(architecture: str, *others: str) -> dict[str, Any]:
    return {"architecture": architecture, "subArchitectures": list(others)}


def _clone(flags: int) -> dict[str, Any]:
    """Deny clone() with a new user namespace; `flags` is the place of the flags among its arguments."""
    wanted = {
        "index": flags,
        "value": _NEW_USER_NAMESPACE,
        "valueTwo": _NEW_USER_NAMESPACE,
        "op": "SCMP_CMP_MASKED_EQ",
    }
    return {"names": ["clone"], "action": "SCMP_ACT_ERRNO", "args": [wanted]}


def kernel_masks(user: int, exists: Callable[[str], bool] = os.path.exists) -> tuple[Mask, ...]:
    """Return what must lie over the container's /proc when its processes are the host's `user`: of root's only."""
    if user != 0:
        return ()
    read_only = tuple(Mask(path, path) for path in _READ_ONLY if exists(path))
    return read_only + tuple(Mask(os.devnull, path) for path in _HIDDEN if exists(path))
