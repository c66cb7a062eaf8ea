from __future__ import annotations

import pytest
from agent.model.capabilities import CudaFacts, PowerMode
from agent.probes import jetson, nvpmodel, tegra

from tests.unit.probes.fakehost import FakeHost

TREE = "/proc/device-tree"
RELEASE = {"/etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n"}
ORIN = {f"{TREE}/compatible": "nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0"}
R35 = {"/etc/nv_tegra_release": "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref\n"}
CARMEL = "processor : 0\nCPU implementer : 0x4e\nCPU part : 0x004\n"
SOC0 = "/sys/devices/soc0"
ANSWER = """\
NVPM ERROR: Error opening /sys/devices/system/cpu/cpu4/online: 13
NVPM WARN: fan mode is not set!
NV Fan Mode:quiet
NV Power Mode: MODE_30W_ALL
2
NVPM WARN: 15
"""
MODES = "< PARAM TYPE=FILE NAME=CPU_ONLINE >\n< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=3 NAME=30W >\n"


@pytest.mark.parametrize(
    ("compatible", "soc"),
    [
        (("nvidia,p3768-0000+p3767-0003", "nvidia,p3767-0003", "nvidia,tegra234", "nvidia,tegra23x"), "tegra234"),
        (("nvidia,e3360-1099", "nvidia,tegra23x"), "tegra234"),
        (("acme,carrier", "nvidia,tegra26x"), "tegra264"),
        (("nvidia,jetson-tk1", "nvidia,tegra124"), "tegra124"),
        (("nvidia,beaver", "nvidia,tegra30"), None),
        (("acme,tegra234",), None),
        (("nvidia,tegra2340",), None),
        ((), None),
    ],
)
def test_the_chip_is_an_exact_entry_of_the_device_tree(compatible: tuple[str, ...], soc: str | None) -> None:
    assert tegra.parse_soc(compatible) == soc


@pytest.mark.parametrize(
    ("compatible", "module"),
    [
        (("nvidia,p3449-0000-b00+p3448-0002-b00", "nvidia,jetson-nano", "nvidia,tegra210"), "p3448-0002"),
        (("nvidia,p3768-0000+p3767-0000-super", "nvidia,p3767-0000", "nvidia,tegra234"), "p3767-0000"),
        (("nvidia,quill", "nvidia,p2597-0000+p3310-1000", "nvidia,tegra186"), "p3310-1000"),
        (("acme,box", "nvidia,p3767-0001", "nvidia,tegra234"), "p3767-0001"),
        (("nvidia,p2371-2180", "nvidia,tegra210"), "p2180-1000"),
        (("nvidia,p3509-0000", "nvidia,tegra194"), None),
        (("nvidia,quill", "nvidia,tegra186"), None),
    ],
)
def test_the_part_number_is_that_of_the_module_not_of_the_carrier(
    compatible: tuple[str, ...], module: str | None
) -> None:
    assert tegra.parse_module(compatible) == module


def test_older_device_trees_name_the_module_beside_compatible() -> None:
    files = {f"{TREE}/compatible": "nvidia,quill\0nvidia,tegra186\0"}
    source = {f"{TREE}/nvidia,dtsfilename": "/dvs/p2888-0001/tegra186-p2597-0000-p3310-1000.dts\0"}
    number = {f"{TREE}/nvidia,proc-boardid": "3310:0000:A0\0"}
    for extra, module in [({**source, **number}, "p3310-1000"), (number, "p3310"), ({}, None)]:
        facts = jetson.probe(FakeHost({**files, **extra}))
        assert facts is not None
        assert facts.module == module


def test_an_upgraded_orin() -> None:
    files = {
        **RELEASE,
        f"{TREE}/compatible": "nvidia,p3768-0000+p3767-0003-super\0nvidia,p3767-0003\0nvidia,tegra234\0",
        "/var/lib/nvpmodel/status": "pmode:0003 fmode:quiet\n",
        "/etc/nvpmodel.conf": MODES,
    }
    facts = jetson.probe(FakeHost(files))
    assert facts is not None
    assert (facts.module, facts.l4t, facts.jetpack, facts.super_mode) == ("p3767-0003", "36.4.3", "6.2", True)
    assert facts.power_mode == PowerMode(3, "30W")
    assert jetson.cuda(FakeHost(files)) == CudaFacts(version="12.6")


def test_super_mode_is_known_from_the_device_tree_and_from_the_power_mode() -> None:
    plain = jetson.probe(FakeHost(ORIN))
    masked = jetson.probe(FakeHost(RELEASE))
    set_to_super = jetson.probe(FakeHost(RELEASE, nvpmodel="NV Power Mode: MAXN_SUPER\n2\n"))
    assert plain is not None
    assert masked is not None
    assert set_to_super is not None
    assert [plain.super_mode, masked.super_mode, set_to_super.super_mode] == [False, None, True]


@pytest.mark.parametrize(
    ("files", "soc"),
    [
        (RELEASE, "tegra234"),
        ({**R35, "/proc/cpuinfo": CARMEL}, "tegra194"),
        ({**R35, "/sys/class/devfreq/17000000.ga10b/cur_freq": "306000000"}, "tegra234"),
        (R35, None),
        ({f"{SOC0}/family": "Tegra\n", f"{SOC0}/soc_id": "25\n"}, "tegra194"),
        ({f"{SOC0}/family": "tegra264\n"}, None),
        ({f"{SOC0}/family": "jep106:036b", f"{SOC0}/soc_id": "jep106:036b:0234"}, "tegra234"),
        ({**RELEASE, f"{SOC0}/family": "jep106:036b", f"{SOC0}/soc_id": "jep106:036b:0999"}, "tegra234"),
        ({**R35, "/proc/cpuinfo": "processor : 0\nBogoMIPS : 62.5\n"}, None),
        ({"/sys/module/tegra_fuse/parameters/tegra_chip_id": "38\n"}, "tegra264"),
    ],
)
def test_a_container_with_a_masked_device_tree_is_on_a_jetson(files: dict[str, str], soc: str | None) -> None:
    board = jetson.board(FakeHost(files, uname_m="aarch64"))
    assert board is not None
    assert board.soc == soc


@pytest.mark.parametrize(
    ("text", "number"),
    [("35", 0x23), ("jep106:036b:0234", 0x23), ("jep106:036b:0264", 0x26), ("jep106:036b:0241", None), ("", None)],
)
def test_the_chips_number_from_its_driver_and_from_firmware(text: str, number: int | None) -> None:
    assert tegra.parse_chip_id(text) == number


def test_a_newer_chip_is_a_jetson_whose_chip_is_not_known() -> None:
    board = jetson.board(FakeHost({**RELEASE, f"{TREE}/compatible": "nvidia,p9999-0000\0nvidia,tegra999\0"}))
    assert board is not None
    assert jetson.jetson_gpu(board).compute_capability != "9.9"


@pytest.mark.parametrize(
    ("files", "machine"),
    [
        ({f"{SOC0}/family": "jep106:0426", f"{SOC0}/soc_id": "jep106:0426:8901"}, "aarch64"),
        ({"/proc/cmdline": "tegra234 nvidia,tegra234", "/proc/version": "Linux version 6.8.0-tegra"}, "aarch64"),
        ({**RELEASE, f"{SOC0}/family": "jep106:0426"}, "aarch64"),
        ({**RELEASE, f"{TREE}/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0"}, "aarch64"),
        (RELEASE, "x86_64"),
        ({f"{SOC0}/family": "Tegra", f"{TREE}/compatible": "nvidia,beaver\0nvidia,tegra30\0"}, "armv7l"),
        ({"/etc/nv_tegra_release": "garbage"}, "aarch64"),
        ({**RELEASE, f"{SOC0}/family": "jep106:036b", f"{SOC0}/soc_id": "jep106:036b:0241"}, "aarch64"),
        ({f"{SOC0}/family": "jep106:036b", f"{SOC0}/soc_id": "jep106:036b:0241"}, "aarch64"),
        ({**RELEASE, "/proc/cpuinfo": "processor : 0\nCPU implementer : 0x41\nCPU part : 0xd4f\n"}, "aarch64"),
        ({}, "aarch64"),
    ],
)
def test_other_machines_are_no_jetsons(files: dict[str, str], machine: str) -> None:
    host = FakeHost(files, uname_m=machine, nvpmodel=ANSWER)
    assert jetson.probe(host) is None
    assert jetson.cuda(host) == CudaFacts()


def test_the_release_comes_from_the_package_where_its_file_is_missing() -> None:
    status = "Package: nvidia-l4t-core\nStatus: install ok installed\nVersion: 35.4.1-20230801124926\n"
    facts = jetson.probe(FakeHost({**ORIN, "/var/lib/dpkg/status": status}))
    assert facts is not None
    assert (facts.l4t, facts.jetpack) == ("35.4.1", "5.1.2")


def test_the_gpu_of_a_jetson_shares_the_main_memory() -> None:
    board = jetson.board(FakeHost({**ORIN, "/proc/meminfo": "MemTotal:       64349776 kB\n"}))
    assert board is not None
    gpu = jetson.jetson_gpu(board)
    assert (gpu.vendor, gpu.kind, gpu.memory_kind) == ("nvidia", "integrated", "shared")
    assert (gpu.compute_capability, gpu.memory_bytes) == ("8.7", 64349776 * 1024)
    assert gpu.usable
    assert len(gpu.units) == 1


def test_the_power_mode_stands_among_warnings() -> None:
    assert nvpmodel.parse_answer(ANSWER) == PowerMode(2, "MODE_30W_ALL")
    assert nvpmodel.parse_answer("7\nNVPM ERROR: no such file") == PowerMode()


@pytest.mark.parametrize(
    ("status", "modes", "answer", "mode"),
    [
        ("pmode:0003 fmode:cool", MODES, None, PowerMode(3, "30W")),
        ("pmode:0009", MODES, None, PowerMode(9)),
        ("pmode:0009", MODES, ANSWER, PowerMode(2, "MODE_30W_ALL")),
        ("", MODES, ANSWER, PowerMode(2, "MODE_30W_ALL")),
        ("", "", None, PowerMode()),
    ],
)
def test_the_files_tell_the_power_mode_before_the_command(
    status: str, modes: str, answer: str | None, mode: PowerMode
) -> None:
    files = {"/var/lib/nvpmodel/status": status, "/etc/nvpmodel.conf": modes}
    assert nvpmodel.power_mode(FakeHost(files, nvpmodel=answer)) == mode
