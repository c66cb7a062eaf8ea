from __future__ import annotations

import struct

import pytest
from agent.probes import runtime
from agent.probes.host import ProbeProblem

from tests.unit.probes.fakehost import FakeHost


@pytest.mark.parametrize(
    ("answer", "name", "version"),
    [
        ("apptainer version 1.4.5\n", "apptainer", "1.4.5"),
        ("apptainer version 1.3.1-1.el9\n", "apptainer", "1.3.1"),
        ("apptainer version 1.5.0-rc.1+12-gabc\n", "apptainer", "1.5.0"),
        ("singularity-ce version 4.1.0-focal\n", "singularity-ce", "4.1.0"),
        ("singularity version 3.10.0\n", "singularity", "3.10.0"),
    ],
)
def test_names_and_versions(answer: str, name: str, version: str) -> None:
    assert runtime.parse_version(answer) == (name, version)


@pytest.mark.parametrize(
    ("name", "version", "enough"),
    [
        ("apptainer", "1.1", True),
        ("apptainer", "1.0.3", False),
        ("apptainer", "1.10.0", True),
        ("singularity-ce", "3.10.0", True),
        ("singularity-ce", "3.9.9", False),
        ("singularity", "2.6.1", False),
    ],
)
def test_the_oldest_versions_that_can_run_jobs(name: str, version: str, enough: bool) -> None:
    assert runtime.is_new_enough(name, version) is enough


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("", "there is no container runtime"),
        ("Segmentation fault", 'answers "Segmentation fault"'),
        ("apptainer version 1.0.2", "1.0.2 is too old"),
    ],
)
def test_a_host_without_a_usable_runtime_gets_a_remedy(answer: str, message: str) -> None:
    with pytest.raises(ProbeProblem, match=message) as caught:
        runtime.probe(FakeHost(runtime_version=answer))
    assert "install Apptainer" in caught.value.remedy


@pytest.mark.parametrize(
    ("machine", "archs"),
    [("x86_64", ("amd64", "386")), ("aarch64", ("arm64", "arm")), ("armv7l", ("arm",)), ("sparc64", None)],
)
def test_what_runs_without_emulation(machine: str, archs: tuple[str, ...] | None) -> None:
    facts = runtime.probe(FakeHost(runtime_version="apptainer version 1.4.5", uname_m=machine))
    assert (facts.archs, facts.limits) == (archs, None)


APPTAINER = "apptainer version 1.4.5"


def program(bits: int, machine: int) -> bytes:
    return b"\x7fELF" + bytes([bits, 1, 1]) + bytes(9) + struct.pack("<HH", 2, machine) + bytes(44)


@pytest.mark.parametrize(
    ("answers", "archs"),
    [
        ({"aarch32": True}, ("arm64", "arm")),
        ({"aarch32": False}, ("arm64",)),
        ({"aarch32": True, "page_size": 65536}, ("arm64",)),
        ({"uname_r": "6.8.0-1013-nvidia-64k"}, ("arm64",)),
        ({"page_size": 16384}, ("arm64", "arm")),
        ({"runtime_elf": program(1, 40)}, ("arm",)),
        ({"long_bit": 32, "runtime_elf": program(2, 183)}, ("arm64", "arm")),
        ({"long_bit": 32}, ("arm",)),
        ({"runtime_elf": b"#!/bin/sh\nexec libexec/apptainer"}, ("arm64", "arm")),
    ],
)
def test_what_an_arm64_host_runs_depends_on_its_cpu_its_kernel_and_the_runtimes_own_program(
    answers: dict[str, object], archs: tuple[str, ...]
) -> None:
    host = FakeHost(None, **{"runtime_version": APPTAINER, "uname_m": "aarch64", **answers})
    assert runtime.probe(host).archs == archs


@pytest.mark.parametrize(("step", "kind"), [("done", "exact"), ("tree", "best-effort")])
def test_limits_are_what_trying_them_has_shown(step: str, kind: str) -> None:
    host = FakeHost(runtime_version="apptainer version 1.4.5", limits_test={"step": step})
    assert runtime.probe(host).limits == kind


def test_a_recording_without_a_runtime_does_not_say() -> None:
    assert runtime.probe(FakeHost()).name is None
