from __future__ import annotations

import struct
from pathlib import Path

import pytest
from agent.adapters.host import RecordedHost
from agent.probes import cpu
from agent.probes.arm import core_name, is_version_6
from agent.probes.cpuinfo import parse_cpuinfo, parse_isa, x86_level

from tests.unit.probes.fakehost import FakeHost

OLD_ARMV7 = """\
Processor\t: ARMv7 Processor rev 10 (v7l)
processor\t: 0
BogoMIPS\t: 6.00

processor\t: 1
BogoMIPS\t: 6.00

Features\t: swp half thumb fastmult vfp edsp neon vfpv3 tls
CPU implementer\t: 0x41
CPU architecture: 7
CPU part\t: 0xc09
CPU revision\t: 10

Hardware\t: Freescale i.MX6 Quad
Serial\t\t: 0000000000000000
"""
S390X = """\
vendor_id       : IBM/S390
# processors    : 2
features\t: esan3 zarch stfle msa vx
processor 0: version = FF,  identification = 1AB3B7,  machine = 3906
processor 1: version = FF,  identification = 1AB3B7,  machine = 3906
"""
POWER9 = """\
processor\t: 0
cpu\t\t: POWER9, altivec supported
clock\t\t: 2166.000000MHz

processor\t: 4
cpu\t\t: POWER9, altivec supported

timebase\t: 512000000
model\t\t: 8335-GTH
"""


def arm64_cpus(*parts: str, features: str = "fp asimd crc32") -> str:
    block = "processor\t: {}\nFeatures\t: {}\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: {}\n\n"
    return "".join(block.format(number, features, part) for number, part in enumerate(parts))


def test_features_printed_once_after_all_cpus_are_those_of_every_cpu() -> None:
    info = parse_cpuinfo(OLD_ARMV7)
    assert info.count == 2
    assert info.models == ("Cortex-A9",)
    assert "neon" in (info.features or ())
    assert info.machine == "armv7l"
    assert info.arm_version == 7


def test_features_are_those_that_every_core_has() -> None:
    text = arm64_cpus("0xd05", features="fp asimd atomics") + arm64_cpus("0xd0b", features="fp asimd i8mm")
    assert parse_cpuinfo(text).features == ("asimd", "fp")


def test_s390x_prints_its_features_before_the_cpus() -> None:
    info = parse_cpuinfo(S390X)
    assert (info.count, info.machine) == (2, "s390x")
    assert info.features == ("esan3", "msa", "stfle", "vx", "zarch")


def test_power_names_its_core_and_has_no_features() -> None:
    info = parse_cpuinfo(POWER9)
    assert (info.count, info.models, info.features) == (2, ("POWER9",), None)


@pytest.mark.parametrize(
    ("cpu_line", "model", "machine"),
    [
        ("POWER9, altivec supported", "POWER9", "ppc64le"),
        ("POWER9 (architected), altivec supported", "POWER9", "ppc64le"),
        ("POWER10 (raw), altivec supported", "POWER10", "ppc64le"),
        ("POWER8E (raw), altivec supported", "POWER8E", None),
        ("PPC970MP, altivec supported", "PPC970MP", None),
    ],
)
def test_the_core_of_a_power_system(cpu_line: str, model: str, machine: str | None) -> None:
    info = parse_cpuinfo(f"processor\t: 0\ncpu\t\t: {cpu_line}\n")
    assert (info.models, info.machine) == ((model,), machine)


def test_isa_extensions_of_risc_v() -> None:
    assert parse_isa("rv64imac_zicsr_zba") == {"i", "m", "a", "c", "zicsr", "zba"}


def test_only_arm_itself_numbers_its_cores_of_version_6_so() -> None:
    assert is_version_6("0x41", "0xb76")
    assert not is_version_6("0x42", "0xb76")


def test_an_unknown_core_is_shown_by_its_numbers() -> None:
    assert core_name("0x41", "0xfff") == "0x41:0xfff"
    assert core_name("0x99", "0x001") == "0x99:0x001"


V2 = "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3"
V3 = V2 + " avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"
V4 = V3 + " avx512f avx512bw avx512cd avx512dq avx512vl"


@pytest.mark.parametrize(
    ("features", "level"),
    [
        ("", "v1"),
        (V2, "v2"),
        (V3, "v3"),
        (V3 + " avx512f", "v3"),
        (V4, "v4"),
        (V4.replace("sse4_1 ", ""), "v1"),
    ],
)
def test_the_x86_level_needs_all_features_of_all_lower_levels(features: str, level: str) -> None:
    assert x86_level(tuple(features.split())) == level


def elf(bits: int, machine: int) -> str:
    return (b"\x7fELF" + bytes([bits, 1, 1]) + bytes(9) + struct.pack("<HH", 2, machine)).decode("latin-1")


@pytest.mark.parametrize(
    ("files", "queries", "arch"),
    [
        ({"/bin/sh": elf(1, 40)}, {"uname_m": "aarch64"}, "arm"),
        ({"/bin/sh": elf(1, 3)}, {"uname_m": "x86_64"}, "386"),
        ({}, {"uname_m": "aarch64", "dpkg_architecture": "armhf"}, "arm"),
        ({}, {"uname_m": "aarch64", "long_bit": 32}, "arm"),
        ({}, {"uname_m": "aarch64", "long_bit": 64}, "arm64"),
        ({}, {"uname_m": "i686"}, "386"),
        ({}, {"uname_m": "armv8l"}, "arm"),
        ({"/proc/version": "Linux version 4.18.0-80.el8.ppc64le (mockbuild@host)"}, {}, "ppc64le"),
        ({"/proc/version": "Linux version 6.1.0-13-amd64 (builder)"}, {}, None),
        ({}, {"uname_m": "sparc64"}, None),
        ({}, {"uname_m": "ppc64"}, "ppc64"),
        ({}, {"uname_m": "aarch64", "dpkg_architecture": "arm64"}, "arm64"),
        ({}, {"uname_m": "ppc64le", "dpkg_architecture": "ppc64el"}, "ppc64le"),
        ({}, {"uname_m": "aarch64", "dpkg_architecture": "armel"}, "arm"),
        ({}, {}, None),
    ],
)
def test_the_architecture_is_that_of_the_userland(
    files: dict[str, str], queries: dict[str, object], arch: str | None
) -> None:
    assert cpu.userland_arch(FakeHost(files, **queries)) == arch


def test_the_own_program_decides_before_the_shell() -> None:
    host = FakeHost({"/bin/sh": elf(1, 40)}, elf=b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 2, 183))
    assert cpu.userland_arch(host) == "arm64"


def test_a_soc_with_two_kinds_of_cores_is_heterogeneous() -> None:
    assert cpu.probe(FakeHost({"/proc/cpuinfo": arm64_cpus("0xd05", "0xd0b")})).heterogeneous is True


def test_cores_of_one_kind_are_homogeneous() -> None:
    assert cpu.probe(FakeHost({"/proc/cpuinfo": arm64_cpus("0xd08", "0xd08")})).heterogeneous is False


@pytest.mark.parametrize(("frequencies", "answer"), [((5200, 3900), True), ((4700, 4500), False)])
def test_favoured_cores_are_of_one_kind_efficient_cores_are_not(frequencies: tuple[int, int], answer: bool) -> None:
    files = {
        f"/sys/devices/system/cpu/cpu{number}/cpufreq/cpuinfo_max_freq": str(frequency)
        for number, frequency in enumerate(frequencies)
    }
    cpuinfo = "processor : 0\nmodel name : X\nflags : lm\n\nprocessor : 1\nmodel name : X\nflags : lm\n"
    assert cpu.probe(FakeHost({**files, "/proc/cpuinfo": cpuinfo})).heterogeneous is answer


def test_without_frequencies_nobody_knows_whether_x86_is_hybrid() -> None:
    cpuinfo = "processor : 0\nmodel name : X\nflags : lm\n\nprocessor : 1\nmodel name : X\nflags : lm\n"
    assert cpu.probe(FakeHost({"/proc/cpuinfo": cpuinfo})).heterogeneous is None


def test_effective_is_the_smallest_of_online_affinity_and_quota() -> None:
    files = {
        "/sys/devices/system/cpu/online": "0-7\n",
        "/proc/self/cgroup": "0::/\n",
        "/sys/fs/cgroup/cpu.max": "250000 100000\n",
    }
    assert cpu.probe(FakeHost(files)).effective == 2.5
    assert cpu.probe(FakeHost(files, affinity=(3,))).effective == 1.0


def test_an_empty_recording_is_all_unknown(tmp_path: Path) -> None:
    facts = cpu.probe(RecordedHost(tmp_path))
    assert facts == type(facts)()


@pytest.mark.parametrize(
    ("release", "size"),
    [
        ("6.8.0-1013-nvidia-64k", 65536),
        ("6.6.20-v8-16k+", 16384),
        ("6.12.75+rpt-rpi-2712", 16384),
        ("6.1.0-13-amd64", None),
    ],
)
def test_the_page_size_that_the_name_of_a_kernel_tells(release: str, size: int | None) -> None:
    assert cpu.parse_page_size(release) == size
