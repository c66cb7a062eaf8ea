from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from agent.adapters.forms import FORMS
from agent.adapters.host import RecordedHost
from agent.probes.host import QUERIES

ANSWERS: dict[str, Any] = {
    "uname-m": "aarch64",
    "uname-r": "6.1.0",
    "elf": b"\x7fELF\x02\x01",
    "dpkg-architecture": "armhf",
    "long-bit": 32,
    "affinity": (0, 2, 3),
    "page-size": 16384,
    "statvfs": ("/srv/ä b", 2**50, 0),
    "nvpmodel": "NV Power Mode: MAXN\n0",
    "throttled": "throttled=0x50005",
    "dev-nodes": ("/dev/nvidia0", "/dev/nvidiactl"),
    "denied-nodes": ("/dev/nvidia0",),
    "nvml": {"init": "ok", "devices": [{"uuid": "GPU-ä"}]},
    "runtime-elf": b"\x7fELF\x02\x01\x01",
    "aarch32": False,
    "runtime-version": "apptainer version 1.4.5",
    "uid": 0,
    "setuid-starter": True,
    "fuse": "ENOENT",
    "unshare": "unshare: unshare failed: Operation not permitted",
    "limits-test": {"step": "make", "path": "/sys/fs/cgroup/x", "error": "Permission denied"},
}
EMPTY: dict[str, Any] = {
    "affinity": (),
    "dev-nodes": (),
    "denied-nodes": (),
    "runtime-version": "",
    "setuid-starter": False,
    "fuse": "",
    "unshare": "",
    "nvml": {},
}
TYPED = (
    "elf",
    "long-bit",
    "affinity",
    "page-size",
    "statvfs",
    "nvml",
    "uid",
    "setuid-starter",
    "limits-test",
    "runtime-elf",
    "aarch32",
)


def write(folder: Path, name: str, text: str) -> RecordedHost:
    file = folder / FORMS[name].file
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return RecordedHost(folder)


def test_every_query_has_a_recorded_form_of_its_own() -> None:
    assert set(FORMS) == set(QUERIES) == set(ANSWERS)
    assert len({form.file for form in FORMS.values()}) == len(FORMS)


@pytest.mark.parametrize(("name", "answer"), [*ANSWERS.items(), *EMPTY.items()])
def test_an_answer_is_read_back_as_it_was(tmp_path: Path, name: str, answer: Any) -> None:
    assert write(tmp_path, name, FORMS[name].dump(answer)).query(name) == answer


@pytest.mark.parametrize("name", TYPED)
@pytest.mark.parametrize("text", ["gibberish", '"x"', "[[]]", "-1", "", "\0"])
def test_a_broken_answer_is_none(tmp_path: Path, name: str, text: str) -> None:
    assert not write(tmp_path, name, text).query(name)


@pytest.mark.parametrize("name", QUERIES)
def test_what_is_not_recorded_is_none(tmp_path: Path, name: str) -> None:
    assert RecordedHost(tmp_path).query(name) is None
