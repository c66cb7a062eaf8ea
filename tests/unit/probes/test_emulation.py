from __future__ import annotations

import pytest
from agent.probes.emulation import Entry, entries, is_switched_on, parse_entry, probe

from tests.unit.probes.fakehost import FakeHost

ARM64 = """\
enabled
interpreter /usr/bin/qemu-aarch64-static
flags: PF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""
S390X = "enabled\ninterpreter /q\nflags: F\noffset 0\nmagic 7f454c4602020100000000000000000000020016\n"
FOLDER = "/proc/sys/fs/binfmt_misc"


@pytest.mark.parametrize(
    ("entry", "arch"),
    [
        (ARM64, "arm64"),
        (S390X, "s390x"),
        (ARM64.replace("enabled", "disabled"), None),
        (ARM64.replace("PF", "POC"), None),
        (ARM64.replace("0200b700", "0300b700"), None),
        (ARM64.replace("offset 0", "offset 4"), None),
        (ARM64.replace("magic 7f45", "extension "), None),
        ("", None),
    ],
)
def test_only_entries_that_apptainer_accepts_emulate(entry: str, arch: str | None) -> None:
    files = {f"{FOLDER}/status": "enabled\n", f"{FOLDER}/qemu": entry}
    assert probe(FakeHost(files)).emulated == (() if arch is None else (arch,))


def test_what_runs_without_emulation_is_not_emulated() -> None:
    i386 = S390X.replace("7f454c4602020100000000000000000000020016", "7f454c4601010100000000000000000002000300")
    arm = ARM64.replace("7f454c460201010000000000000000000200b700", "7f454c4601010100000000000000000002002800")
    files = {f"{FOLDER}/status": "enabled\n", f"{FOLDER}/a": ARM64, f"{FOLDER}/b": i386, f"{FOLDER}/c": arm}
    assert probe(FakeHost(files, uname_m="x86_64")).emulated == ("arm", "arm64")
    assert probe(FakeHost(files, uname_m="aarch64")).emulated == ("386",)
    assert probe(FakeHost(files, uname_m="aarch64", aarch32=False)).emulated == ("386", "arm")


@pytest.mark.parametrize(
    ("entry", "known"),
    [
        (ARM64, Entry("qemu", "arm64", enabled=True, fixed=True)),
        (ARM64.replace("enabled", "disabled"), Entry("qemu", "arm64", enabled=False, fixed=True)),
        (ARM64.replace("PF", "POC"), Entry("qemu", "arm64", enabled=True, fixed=False)),
        (ARM64.replace("0200b700", "0300b700"), None),
        (ARM64.replace("offset 0", "offset 4"), None),
        ("", None),
    ],
)
def test_entries_that_do_not_work_are_known_all_the_same(entry: str, known: Entry | None) -> None:
    assert parse_entry(entry, "qemu") == known
    assert entries(FakeHost({f"{FOLDER}/qemu": entry})) == ((known,) if known else ())


@pytest.mark.parametrize(("status", "on"), [("enabled\n", True), ("disabled\n", False), (None, None)])
def test_emulation_as_a_whole_is_on_off_or_not_there(status: str | None, on: bool | None) -> None:
    assert is_switched_on(FakeHost({} if status is None else {f"{FOLDER}/status": status})) is on


def test_nothing_is_emulated_while_binfmt_misc_is_disabled() -> None:
    files = {f"{FOLDER}/status": "disabled\n", f"{FOLDER}/qemu-aarch64": ARM64}
    assert probe(FakeHost(files)).emulated == ()


def test_the_own_architecture_is_not_emulated() -> None:
    files = {f"{FOLDER}/status": "enabled\n", f"{FOLDER}/qemu-aarch64": ARM64}
    assert probe(FakeHost(files, uname_m="x86_64")).emulated == ("arm64",)
    assert probe(FakeHost(files, uname_m="aarch64")).emulated == ()


def test_binfmt_misc_that_is_not_mounted_emulates_nothing() -> None:
    assert probe(FakeHost({"/proc/sys/fs/file-max": "1"})).emulated == ()


def test_a_recording_without_proc_does_not_say() -> None:
    assert probe(FakeHost()).emulated is None
