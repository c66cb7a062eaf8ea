from __future__ import annotations

import json

from agent.adapters.confinement import Mask, kernel_masks, seccomp_profile

CLONE_NEWUSER = 0x10000000


def test_what_is_not_denied_is_allowed() -> None:
    profile = json.loads(seccomp_profile())
    assert profile["defaultAction"] == "SCMP_ACT_ALLOW"
    assert {rule["action"] for rule in profile["syscalls"]} == {"SCMP_ACT_ERRNO"}


def test_namespaces_mounts_and_keys_are_denied() -> None:
    denied = json.loads(seccomp_profile())["syscalls"][0]
    assert {"unshare", "setns", "mount", "umount2", "move_mount", "fsmount", "keyctl", "bpf"} <= set(denied["names"])
    assert "args" not in denied


def test_threads_can_be_made_and_user_namespaces_cannot() -> None:
    rules = json.loads(seccomp_profile())["syscalls"]
    assert not any({"clone3", "fork", "vfork", "execve"} & set(rule["names"]) for rule in rules)
    clones = [rule for rule in rules if rule["names"] == ["clone"]]
    assert [rule["args"][0]["index"] for rule in clones] == [0, 1]
    for rule in clones:
        assert (rule["args"][0]["value"], rule["args"][0]["valueTwo"]) == (CLONE_NEWUSER, CLONE_NEWUSER)
    assert clones[0]["excludes"] == clones[1]["includes"]


def test_of_root_everything_that_user_0_could_write_is_read_only_and_secrets_are_hidden() -> None:
    masks = kernel_masks(0, lambda path: True)
    assert Mask("/proc/sys", "/proc/sys") in masks
    assert Mask("/proc/sysrq-trigger", "/proc/sysrq-trigger") in masks
    assert Mask("/dev/null", "/proc/keys") in masks
    targets = [mask.target for mask in masks]
    assert targets.index("/proc/sys") < targets.index("/proc/sys/fs/binfmt_misc")


def test_only_what_the_kernel_has_is_masked() -> None:
    assert kernel_masks(0, {"/proc/sys", "/proc/keys"}.__contains__) == (
        Mask("/proc/sys", "/proc/sys"),
        Mask("/dev/null", "/proc/keys"),
    )


def test_a_plain_user_has_no_hold_of_them_anyway() -> None:
    assert kernel_masks(1000, lambda path: True) == ()
