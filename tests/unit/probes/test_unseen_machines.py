"""Machines that nobody recorded, put together from what is known of their kinds: boards, servers, containers."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from agent.probes import probe_host

from tests.hosts import differences
from tests.unit.probes.fakehost import FakeHost

TREE, DMI, CPUS, NODES = "/proc/device-tree", "/sys/class/dmi/id", "/sys/devices/system/cpu", "/sys/devices/system/node"
AARCH64 = {"uname_m": "aarch64"}
NO_LIBRARY = {"init": "LibraryNotFound"}
MASKED = {"/.dockerenv": "", "/proc/meminfo": "MemTotal:       30000000 kB\n"}
ORIN_UUID = "1833c8b5-9aa0-5382-b784-68b7e77eb185"
EL2_MOUNTS = "25 1 0:22 / /proc rw - proc proc rw\n30 1 0:26 / {point} rw - cgroup2 cgroup2 rw\n"


class Machine(NamedTuple):
    """Files and answers of a machine, and the part of its profile that follows from them."""

    files: dict[str, str]
    answers: dict[str, Any]
    expected: dict[str, Any]


def tree(model: str, *compatible: str, **more: str) -> dict[str, str]:
    properties = {"model": model, "compatible": "\0".join(compatible), **more}
    return {f"{TREE}/{name}": f"{value}\0" for name, value in properties.items()}


def release(line: str, board: str = "generic", date: str = "Wed Jan  8 01:49:37 UTC 2025") -> dict[str, str]:
    major, revision = line.split(".", 1)
    text = f"# R{major} (release), REVISION: {revision}, GCID: 1, BOARD: {board}, EABI: aarch64, DATE: {date}\n"
    return {"/etc/nv_tegra_release": text}


def arm(*parts: str, implementer: str = "0x41", architecture: str = "8", tail: str = "") -> dict[str, str]:
    block = (
        "processor\t: {}\nFeatures\t: fp asimd crc32\nCPU implementer\t: {}\nCPU architecture: {}\nCPU part\t: {}\n\n"
    )
    blocks = (block.format(number, implementer, architecture, part) for number, part in enumerate(parts))
    return {"/proc/cpuinfo": "".join(blocks) + tail}


def x86(name: str, flags: str, count: int = 1) -> dict[str, str]:
    block = "processor\t: {}\nmodel name\t: {}\nflags\t\t: fpu lm {}\n\n"
    return {"/proc/cpuinfo": "".join(block.format(number, name, flags) for number in range(count))}


def memory(kilobytes: int) -> dict[str, str]:
    return {"/proc/meminfo": f"MemTotal:       {kilobytes} kB\n"}


def dmi(vendor: str, product: str) -> dict[str, str]:
    return {f"{DMI}/sys_vendor": vendor, f"{DMI}/product_name": product}


def pci(address: str, vendor: str, device: str, kind: str, driver: str = "") -> dict[str, str]:
    below = f"/sys/bus/pci/devices/{address}"
    facts = {"vendor": f"0x{vendor}", "device": f"0x{device}", "class": f"0x{kind}00", "uevent": f"DRIVER={driver}\n"}
    return {f"{below}/{name}": value for name, value in facts.items()}


def nvml(*devices: dict[str, Any], driver: str = "550.54.15", cuda: int = 12040) -> dict[str, Any]:
    count = {"init": "ok", "count": len(devices), "driver_version": driver, "cuda_driver_version": cuda}
    return {**count, "devices": list(devices)}


def card(name: str, uuid: str, bus: str, mib: int = 24576, **more: Any) -> dict[str, Any]:
    device = {"name": name, "uuid": uuid, "pci_info": bus, "memory_info": {"total_mib": mib}, "processes": []}
    return {**device, "cuda_compute_capability": [9, 0], "compute_mode": 0, "mig_mode": "NotSupported", **more}


def refused(name: str, uuid: str, **more: Any) -> dict[str, Any]:
    """What Tegra's NVML answers: name and UUID, and little else."""
    silent = ("pci_info", "memory_info", "mig_mode", "compute_mode", "processes", "cuda_compute_capability")
    return {"name": name, "uuid": uuid, **dict.fromkeys(silent, "NotSupported"), **more}


def instances(*uuids: str) -> dict[str, Any]:
    return {"mig_mode": [1, 1], "mig_devices": [{"uuid": uuid, "name": "MIG 1g.10gb"} for uuid in uuids]}


def integrated(capability: str, **more: Any) -> dict[str, Any]:
    facts = {"vendor": "nvidia", "kind": "integrated", "memory_kind": "shared", "compute_capability": capability}
    return {**facts, "usable": True, **more}


JETSONS = {
    "nano-2gb-in-5w": Machine(
        {
            **tree("NVIDIA Jetson Nano 2GB Developer Kit", "nvidia,p3542-0000+p3448-0003", "nvidia,tegra210"),
            **release("32.7.4", "t210ref"),
            **arm("0xd07", "0xd07"),
            f"{CPUS}/online": "0-1\n",
        },
        {**AARCH64, "nvml": NO_LIBRARY, "nvpmodel": "NVPM WARN: fan mode is not set!\nNV Power Mode: 5W\n1\n"},
        {
            "cpu": {"online": 2, "effective": 2.0, "heterogeneous": False},
            "jetson": {
                "module": "p3448-0003",
                "l4t": "32.7.4",
                "jetpack": "4.6.4",
                "power_mode": {"id": 1, "name": "5W"},
            },
            "cuda": {"version": "10.2", "driver": None},
            "gpus": [integrated("5.3")],
        },
    ),
    "tx1-of-two-jetpacks": Machine(
        {
            **tree("NVIDIA Jetson TX1 Developer Kit", "nvidia,p2371-2180", "nvidia,tegra210"),
            **release("28.2.1", "t210ref"),
        },
        AARCH64,
        {
            "host": {"soc": "tegra210"},
            "jetson": {"module": "p2180-1000", "l4t": "28.2.1", "jetpack": None},
            "cuda": {"version": "9.0"},
            "gpus": [integrated("5.3")],
        },
    ),
    "tx2-nx-with-denver-cores": Machine(
        {
            **tree("lanai-3636", "nvidia,p3509-0000+p3636-0001", "nvidia,tegra186"),
            **release("32.7.6", "t186ref"),
            "/proc/cpuinfo": arm("0xd07")["/proc/cpuinfo"]
            + arm("0x003", implementer="0x4e")["/proc/cpuinfo"].replace("processor\t: 0", "processor\t: 3"),
        },
        AARCH64,
        {
            "host": {"vendor": "NVIDIA", "model": "lanai-3636", "soc": "tegra186"},
            "cpu": {"models": ["Cortex-A57", "Denver-2"], "heterogeneous": True, "online": 2},
            "jetson": {"module": "p3636-0001", "jetpack": "4.6.6"},
            "gpus": [integrated("6.2")],
        },
    ),
    "xavier-nx-16gb": Machine(
        {
            **tree(
                "NVIDIA Jetson Xavier NX Developer Kit",
                "nvidia,p3449-0000+p3668-0003",
                "nvidia,p3509-0000+p3668-0003",
                "nvidia,tegra194",
            ),
            **release("35.6.4", "t186ref"),
            **memory(16000000),
        },
        {**AARCH64, "nvml": NO_LIBRARY, "dev_nodes": ("/dev/nvhost-gpu", "/dev/nvmap")},
        {
            "jetson": {"module": "p3668-0003", "l4t": "35.6.4", "jetpack": "5.1.6", "super_mode": False},
            "cuda": {"version": "11.4"},
            "gpus": [integrated("7.2", memory_bytes=16000000 * 1024)],
        },
    ),
    "agx-xavier-of-upstream": Machine(
        tree("NVIDIA Jetson AGX Xavier Developer Kit", "nvidia,p2972-0000", "nvidia,tegra194"),
        AARCH64,
        {"jetson": {"module": "p2888", "l4t": None, "jetpack": None}, "gpus": [integrated("7.2")]},
    ),
    "agx-orin-r39-with-a-12-hour-date": Machine(
        {
            **tree(
                "NVIDIA Jetson AGX Orin Developer Kit",
                "nvidia,p3737-0000+p3701-0005",
                "nvidia,p3701-0005",
                "nvidia,tegra234",
            ),
            **release("39.2.0", date="Mon Jun  1 09:28:48 PM UTC 2026"),
        },
        {**AARCH64, "nvml": nvml(refused("Orin (nvgpu)", ORIN_UUID), driver="595.78", cuda=13020)},
        {
            "jetson": {"module": "p3701-0005", "l4t": "39.2.0", "jetpack": "7.2"},
            "cuda": {"version": "13.2", "driver": "595.78"},
            "gpus": [integrated("8.7", name="Orin (nvgpu)", uuid=ORIN_UUID, units=[ORIN_UUID])],
        },
    ),
    "orin-nx-on-a-carrier-of-somebody": Machine(
        {
            **tree("Acme Edge Box", "acme,edge-box", "nvidia,p3767-0001", "nvidia,tegra234"),
            **release("36.4.9"),
        },
        AARCH64,
        {
            "host": {"vendor": "Acme", "model": "Acme Edge Box", "soc": "tegra234"},
            "jetson": {"module": "p3767-0001", "l4t": "36.4.9", "jetpack": None, "super_mode": False},
            "cuda": {"version": "12.6"},
        },
    ),
    "orin-nx-super": Machine(
        {
            **tree(
                "NVIDIA Jetson Orin NX Engineering Reference Developer Kit Super",
                "nvidia,p3768-0000+p3767-0000-super",
                "nvidia,p3767-0000",
                "nvidia,tegra234",
            ),
            **release("36.5.0"),
        },
        AARCH64,
        {"jetson": {"module": "p3767-0000", "l4t": "36.5.0", "jetpack": None, "super_mode": True}},
    ),
    "igx-orin-with-a-card": Machine(
        {
            **tree(
                "NVIDIA IGX Orin Developer Kit", "nvidia,p3740-0002+p3701-0002", "nvidia,p3701-0002", "nvidia,tegra234"
            ),
            **release("36.4.7"),
            **pci("0005:09:00.0", "10de", "26b1", "0300", "nvidia"),
            **pci("0004:00:00.0", "10de", "229c", "0604", "pcieport"),
        },
        {**AARCH64, "nvml": nvml(card("NVIDIA RTX 6000 Ada Generation", "GPU-rtx", "00000005:09:00.0", 49140))},
        {
            "jetson": {"module": "p3701-0002", "jetpack": "6.2.1"},
            "gpus": [
                {"pci": "0005:09:00.0", "kind": "discrete", "memory_kind": "dedicated", "units": ["GPU-rtx"]},
                integrated("8.7"),
            ],
        },
    ),
    "thor-whose-gpu-nvgpu-drives": Machine(
        {
            **tree(
                "NVIDIA Jetson AGX Thor Developer Kit",
                "nvidia,p4071-0000+p3834-0008",
                "nvidia,p3834-0008",
                "nvidia,tegra264",
            ),
            **release("38.2.2"),
            **pci("0000:00:00.0", "10de", "22d8", "0604"),
            **pci("0000:01:00.0", "10de", "2b00", "0302", "nvgpu"),
        },
        {**AARCH64, "nvml": NO_LIBRARY},
        {
            "jetson": {"module": "p3834-0008", "l4t": "38.2.2", "jetpack": "7.0"},
            "cuda": {"version": "13.0"},
            "gpus": [integrated("11.0", pci="0000:01:00.0", pci_id="10de:2b00", driver=None)],
        },
    ),
}

CONTAINERS = {
    "orin-masked-seen-by-its-soc": Machine(
        {
            **MASKED,
            **release("35.3.1", "t186ref"),
            "/sys/devices/soc0/family": "Tegra",
            "/sys/devices/soc0/soc_id": "35",
        },
        {**AARCH64, "dev_nodes": ("/dev/nvhost-gpu", "/dev/nvmap")},
        {
            "host": {"container": "docker", "soc": "tegra234"},
            "jetson": {"l4t": "35.3.1", "jetpack": "5.1.1", "module": None, "super_mode": None},
            "cuda": {"version": "11.4"},
            "gpus": [integrated("8.7", memory_bytes=30000000 * 1024)],
        },
    ),
    "orin-masked-seen-by-firmware-beside-its-driver": Machine(
        {
            **MASKED,
            "/sys/devices/soc0/family": "jep106:036b",
            "/sys/devices/soc0/soc_id": "jep106:036b:0234",
            "/sys/devices/soc1/family": "Tegra",
            "/sys/devices/soc1/soc_id": "35",
        },
        AARCH64,
        {"host": {"soc": "tegra234"}, "jetson": {"l4t": None, "jetpack": None}, "gpus": [integrated("8.7")]},
    ),
    "orin-masked-seen-by-firmware-alone": Machine(
        {
            **MASKED,
            **release("39.2.0"),
            "/sys/devices/soc0/family": "jep106:036b",
            "/sys/devices/soc0/soc_id": "jep106:036b:0234",
        },
        AARCH64,
        {"host": {"soc": "tegra234"}, "jetson": {"jetpack": "7.2"}, "gpus": [integrated("8.7")]},
    ),
    "nano-masked-seen-by-its-clocked-gpu": Machine(
        {
            **MASKED,
            **release("32.6.1", "t210ref"),
            **arm("0xd07"),
            "/sys/class/devfreq/57000000.gpu/cur_freq": "76800000",
        },
        AARCH64,
        {"host": {"soc": "tegra210"}, "jetson": {"jetpack": "4.6"}, "gpus": [integrated("5.3")]},
    ),
    "xavier-masked-without-its-devices": Machine(
        {**MASKED, **release("35.4.1", "t186ref"), **arm("0x004", implementer="0x4e"), "/dev/null": ""},
        {**AARCH64, "dev_nodes": ("/dev/nvidiactl",)},
        {"host": {"soc": "tegra194"}, "gpus": [{"kind": "integrated", "usable": False, "reason": "no-permission"}]},
    ),
    "jetson-image-on-graviton": Machine(
        {**release("35.4.1", "t186ref"), **arm("0xd0c"), **dmi("Amazon EC2", "c6g.medium")},
        AARCH64,
        {"jetson": None, "gpus": [], "cuda": {"version": None}, "host": {"virtualization": "amazon"}},
    ),
    "jetson-image-on-gh200": Machine(
        {
            **release("36.4.3"),
            **arm("0xd4f"),
            "/sys/devices/soc0/family": "jep106:036b",
            "/sys/devices/soc0/soc_id": "jep106:036b:0241",
            **pci("0009:01:00.0", "10de", "2342", "0302", "nvidia"),
        },
        {**AARCH64, "nvml": nvml(card("NVIDIA GH200 480GB", "GPU-h", "00000009:01:00.0", 97871, addressing_mode=2))},
        {"jetson": None, "gpus": [{"kind": "discrete", "memory_kind": "dedicated-coherent", "units": ["GPU-h"]}]},
    ),
    "jetson-image-on-a-pi": Machine(
        {**release("32.7.6"), **arm("0xd0b")}, AARCH64, {"jetson": None, "gpus": [], "host": {"soc": None}}
    ),
}

BOARDS = {
    "pi-zero-w": Machine(
        {
            **tree("Raspberry Pi Zero W Rev 1.1", "raspberrypi,model-zero-w", "brcm,bcm2835"),
            **arm("0xb76", architecture="7", tail="Hardware\t: BCM2835\nRevision\t: 9000c1\n"),
        },
        {"uname_m": "armv6l", "runtime_version": "apptainer version 1.4.5"},
        {
            "host": {"vendor": "Raspberry Pi", "soc": "bcm2835"},
            "cpu": {"arch": "arm", "variant": "v6", "models": ["ARM1176"], "level": None},
            "runtime": {"archs": ["arm"]},
        },
    ),
    "pi-2-of-an-old-kernel": Machine(
        arm("0xc07", "0xc07", architecture="7", tail="Hardware\t: BCM2835\nRevision\t: a01041\nSerial\t: 1\n"),
        {"uname_m": "armv7l"},
        {
            "host": {"vendor": "Raspberry Pi", "model": "Raspberry Pi 2 Model B", "soc": "bcm2836"},
            "cpu": {"arch": "arm", "variant": "v7", "models": ["Cortex-A7"]},
        },
    ),
    "pi-400-with-a-32-bit-system": Machine(
        {
            **tree("Raspberry Pi 400 Rev 1.0", "raspberrypi,400", "brcm,bcm2711"),
            **arm("0xd08"),
        },
        {**AARCH64, "dpkg_architecture": "armhf", "runtime_version": "apptainer version 1.4.5"},
        {
            "cpu": {"arch": "arm", "variant": "v7", "kernel_machine": "aarch64"},
            "runtime": {"archs": ["arm"]},
            "host": {"soc": "bcm2711"},
        },
    ),
    "pi-cm5-that-is-short-of-power": Machine(
        {
            **tree("Raspberry Pi Compute Module 5 Rev 1.0", "raspberrypi,5-compute-module", "brcm,bcm2712"),
            **arm("0xd0b", "0xd0b"),
            "/proc/sys/kernel/osrelease": "6.12.25+rpt-rpi-2712\n",
            "/sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled": "50005\n",
        },
        {**AARCH64, "runtime_version": "apptainer version 1.4.5"},
        {
            "cpu": {"page_size": 16384, "heterogeneous": False},
            "runtime": {"archs": ["arm64", "arm"]},
            "health": {
                "throttled": ["under_voltage", "throttled"],
                "throttled_since_boot": ["under_voltage", "throttled"],
            },
        },
    ),
    "rock-3a": Machine(
        {**tree("Radxa ROCK3 Model A", "radxa,rock3a", "rockchip,rk3568"), **arm(*["0xd05"] * 4)},
        AARCH64,
        {
            "host": {"vendor": "Radxa", "soc": "rk3568"},
            "cpu": {"models": ["Cortex-A55"], "heterogeneous": False, "online": 4},
            "accelerators": [{"vendor": "rockchip", "name": "npu"}],
            "gpus": [],
            "jetson": None,
        },
    ),
    "orange-pi-5-of-the-makers-kernel": Machine(
        {
            **tree("Orange Pi 5", "rockchip,rk3588s-orangepi-5", "rockchip,rk3588"),
            **arm(*["0xd05"] * 4, *["0xd0b"] * 4),
        },
        AARCH64,
        {"host": {"vendor": "Xunlong", "soc": "rk3588"}, "cpu": {"heterogeneous": True, "online": 8}},
    ),
    "rk3576": Machine(
        {**tree("ArmSoM Sige5", "armsom,sige5", "rockchip,rk3576"), **arm("0xd03", "0xd08")},
        AARCH64,
        {
            "host": {"vendor": "ArmSoM", "soc": "rk3576"},
            "cpu": {"models": ["Cortex-A53", "Cortex-A72"], "heterogeneous": True},
            "accelerators": [{"vendor": "rockchip", "name": "npu"}],
        },
    ),
    "loongson": Machine({}, {"uname_m": "loongarch64"}, {"cpu": {"arch": "loong64", "kernel_machine": "loongarch64"}}),
    "32-bit-process-of-an-arm64-kernel": Machine(
        arm("0xd08"), {"uname_m": "armv8l"}, {"cpu": {"arch": "arm", "variant": "v7", "kernel_machine": "armv8l"}}
    ),
}

V2 = "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3"
V4 = f"{V2} avx avx2 bmi1 bmi2 f16c fma abm movbe xsave avx512f avx512bw avx512cd avx512dq avx512vl"
POWER9 = "processor\t: {}\ncpu\t\t: POWER9, altivec supported\nclock\t\t: 3800.000000MHz\n\n"
POWER_NODES = {f"{NODES}/node{node}/meminfo": f"Node {node} MemTotal:       15728640 kB\n" for node in range(250, 256)}
POWER_GPUS = [f"000{domain}:0{bus}:00.0" for domain in (4, 5) for bus in (4, 5, 6)]
DRIVER = "/proc/driver/nvidia/gpus"

SERVERS = {
    "opteron-6134": Machine(
        x86("AMD Opteron(tm) Processor 6134", "pni cx16 popcnt lahf_lm abm sse4a"),
        {"uname_m": "x86_64"},
        {"cpu": {"level": "v1", "arch": "amd64"}, "host": {"virtualization": "none"}},
    ),
    "i5-m560": Machine(
        x86("Intel(R) Core(TM) i5 CPU M 560 @ 2.67GHz", f"{V2} vmx aes"),
        {"uname_m": "x86_64"},
        {"cpu": {"level": "v2"}, "host": {"virtualization": "none"}},
    ),
    "ec2-with-a-vga-device": Machine(
        {
            **x86("Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz", f"{V4} hypervisor"),
            **dmi("Amazon EC2", "m5.large"),
            **pci("0000:00:03.0", "1d0f", "1111", "0300"),
        },
        {"uname_m": "x86_64"},
        {"cpu": {"level": "v4"}, "gpus": [], "host": {"virtualization": "amazon", "vendor": "Amazon EC2"}},
    ),
    "386-on-an-amd64-kernel": Machine(
        x86("Intel(R) Atom(TM) CPU N2800", "ssse3"),
        {
            "uname_m": "x86_64",
            "dpkg_architecture": "i386",
            "runtime_version": "apptainer version 1.4.5",
        },
        {"cpu": {"arch": "386", "kernel_machine": "x86_64", "level": None}, "runtime": {"archs": ["386"]}},
    ),
    "wsl2": Machine(
        {
            **x86("AMD Ryzen 9 7950X", f"{V4} hypervisor"),
            "/proc/sys/kernel/osrelease": "6.6.87.2-microsoft-standard-WSL2",
        },
        {
            "uname_m": "x86_64",
            "dev_nodes": ("/dev/dxg",),
            "nvml": nvml(
                card("NVIDIA GeForce RTX 4080", "GPU-w", "00000000:01:00.0", 16376, minor_number="NotSupported")
            ),
        },
        {
            "host": {"virtualization": "wsl"},
            "gpus": [{"kind": "paravirtual", "memory_kind": "dedicated", "usable": True, "units": ["GPU-w"]}],
        },
    ),
    "wsl2-whose-library-is-a-stub": Machine(
        {"/proc/sys/kernel/osrelease": "6.6.87.2-microsoft-standard-WSL2"},
        {"dev_nodes": ("/dev/dxg",), "nvml": {"init": "DriverNotLoaded"}},
        {"host": {"virtualization": "wsl"}, "gpus": []},
    ),
    "dgx-station-with-a-display-card": Machine(
        {
            **pci("0000:07:00.0", "10de", "20b2", "0302", "nvidia"),
            **pci("0000:c2:00.0", "10de", "1fb0", "0300", "nvidia"),
        },
        {
            "uname_m": "x86_64",
            "nvml": nvml(
                card("NVIDIA A100-SXM4-80GB", "GPU-a", "00000000:07:00.0"),
                card("NVIDIA DGX Display", "GPU-d", "00000000:C2:00.0", 4096),
            ),
        },
        {
            "gpus": [
                {"uuid": "GPU-a", "usable": True, "units": ["GPU-a"]},
                {"uuid": "GPU-d", "usable": False, "reason": "compute-prohibited", "units": []},
            ]
        },
    ),
    "h100s-divided-in-different-ways": Machine(
        {},
        {
            "uname_m": "x86_64",
            "dev_nodes": ("/dev/nvidia0", "/dev/nvidiactl"),
            "nvml": nvml(
                card("NVIDIA H100", "GPU-0", "00000000:19:00.0", **instances("MIG-a", "MIG-b", "MIG-c")),
                card("NVIDIA H100", "GPU-1", "00000000:3B:00.0", mig_mode=[1, 1], mig_devices=[]),
                card("NVIDIA H100", "GPU-2", "00000000:4C:00.0", mig_mode=[0, 1]),
                card("NVIDIA H100", "GPU-3", "00000000:5D:00.0", mig_mode=[1, 1], mig_devices="NoPermission"),
                card("NVIDIA H100", "GPU-4", "00000000:9B:00.0", **instances("MIG-GPU-4/1/0", "MIG-GPU-4/2/0")),
            ),
        },
        {
            "gpus": [
                {"uuid": "GPU-0", "units": ["MIG-a", "MIG-b", "MIG-c"]},
                {"uuid": "GPU-1", "units": []},
                {"uuid": "GPU-2", "units": ["GPU-2"]},
                {"uuid": "GPU-3", "units": []},
                {"uuid": "GPU-4", "units": ["MIG-GPU-4/1/0", "MIG-GPU-4/2/0"]},
            ]
        },
    ),
    "cards-that-nvml-cannot-even-count": Machine(
        pci("0000:01:00.0", "10de", "2684", "0300", "nvidia"),
        {"nvml": {"init": "ok", "count": "NoPermission", "driver_version": "550.54.15", "devices": []}},
        {"gpus": [{"usable": False, "reason": "no-permission"}], "cuda": {"driver": "550.54.15"}},
    ),
    "nvlink-power9": Machine(
        {
            "/proc/cpuinfo": "".join(map(POWER9.format, range(4))) + "platform\t: PowerNV\nmodel\t\t: 8335-GTW\n",
            **memory(358162944),
            **POWER_NODES,
            **{
                f"{DRIVER}/{address}/information": f"Model: \t\t Tesla V100-SXM2-16GB\nBus Location: \t {address}\n"
                for address in POWER_GPUS
            },
            **{
                f"{DRIVER}/{address}/numa_status": f"Node: {255 - number}\nStatus: online\nAddress: 4000\nSize: 3c\n"
                for number, address in enumerate(POWER_GPUS)
            },
            f"{NODES}/has_cpu": "0,8",
            f"{NODES}/online": "0,8,250-255",
        },
        {},
        {
            "cpu": {"arch": "ppc64le", "kernel_machine": "ppc64le", "models": ["POWER9"], "online": 4},
            "memory": {"total_bytes": 358162944 * 1024, "system_bytes": (129839104 + 133952000) * 1024},
            "gpus": [
                {
                    "pci": address,
                    "name": "Tesla V100-SXM2-16GB",
                    "kind": "discrete",
                    "memory_kind": "dedicated-coherent",
                    "usable": False,
                }
                for address in POWER_GPUS
            ],
            "jetson": None,
        },
    ),
    "nvlink-power9-without-the-drivers-files": Machine(
        {
            **memory(358162944),
            **POWER_NODES,
            f"{NODES}/has_cpu": "0,8",
            f"{NODES}/has_memory": "0,8,250-255",
            **pci("0004:04:00.0", "10de", "1db1", "0302", "nvidia"),
        },
        {"uname_m": "ppc64le", "nvml": nvml(card("Tesla V100-SXM2-16GB", "GPU-p", "00000004:04:00.0", 16128))},
        {
            "memory": {"system_bytes": (129839104 + 133952000) * 1024},
            "gpus": [{"memory_kind": "dedicated-coherent", "memory_bytes": 16128 * 1024**2, "usable": True}],
        },
    ),
    "the-same-card-on-x86": Machine(
        {**memory(1000000), **pci("0000:04:00.0", "10de", "1db1", "0302", "nvidia"), f"{NODES}/online": "0"},
        {"uname_m": "x86_64", "nvml": nvml(card("Tesla V100-SXM2-16GB", "GPU-p", "00000000:04:00.0", 16128))},
        {"memory": {"system_bytes": 1000000 * 1024}, "gpus": [{"memory_kind": "dedicated"}]},
    ),
    "gb200-two-gpus": Machine(
        {
            **arm("0xd4f", "0xd4f"),
            **memory(1000000000),
            **dmi("NVIDIA", "GB200 NVL"),
            **pci("0008:01:00.0", "10de", "2941", "0302", "nvidia"),
            **pci("0018:01:00.0", "10de", "2941", "0302", "nvidia"),
            f"{NODES}/has_cpu": "0-1",
            f"{NODES}/has_memory": "0-1,2,10",
            f"{NODES}/node2/meminfo": "Node 2 MemTotal:       190000000 kB\n",
            f"{NODES}/node10/meminfo": "Node 10 MemTotal:       190000000 kB\n",
        },
        {
            **AARCH64,
            "page_size": 65536,
            "runtime_version": "apptainer version 1.4.5",
            "nvml": nvml(
                card("NVIDIA GB200", "GPU-x", "00000008:01:00.0", 189471),
                card("NVIDIA GB200", "GPU-y", "00000018:01:00.0", 189471),
                cuda=12080,
            ),
        },
        {
            "jetson": None,
            "memory": {"system_bytes": 620000000 * 1024},
            "runtime": {"archs": ["arm64"]},
            "gpus": [
                {"pci": address, "kind": "discrete", "memory_kind": "dedicated-coherent", "usable": True}
                for address in ("0008:01:00.0", "0018:01:00.0")
            ],
        },
    ),
    "grace-without-gpu": Machine(
        {**arm("0xd4f"), **dmi("NVIDIA", "Grace CPU P3880"), "/proc/cmdline": "tegra_fuse nvidia,tegra234"},
        {**AARCH64, "aarch32": False, "runtime_version": "apptainer version 1.4.5"},
        {"jetson": None, "gpus": [], "runtime": {"archs": ["arm64"], "gpu_methods": []}},
    ),
    "gb10-laptop-without-driver": Machine(
        {**arm("0xd85", "0xd87"), **pci("0001:01:00.0", "10de", "2e03", "0300")},
        {**AARCH64, "nvml": NO_LIBRARY},
        {
            "jetson": None,
            "cpu": {"heterogeneous": True},
            "gpus": [{"kind": "integrated-coherent", "memory_kind": "shared", "usable": False, "reason": "no-driver"}],
        },
    ),
}


def limited(mountinfo: str | None, groups: str, files: dict[str, str], **answers: Any) -> Machine:
    """A machine of 16 CPUs and 64 GB with these groups; 2.5 CPUs and 1 GiB of it may be used."""
    basis = {**memory(64000000), f"{CPUS}/online": "0-15", "/proc/self/cgroup": groups, **files}
    told = {} if mountinfo is None else {"/proc/self/mountinfo": mountinfo}
    usable = {"cpu": {"online": 16, "effective": 2.5}, "memory": {"effective_bytes": 1 << 30}}
    return Machine({**basis, **told}, {"uname_m": "x86_64", **answers}, usable)


def v1(cpu: str, memory_at: str) -> dict[str, str]:
    return {
        f"{cpu}/cpu.cfs_quota_us": "250000\n",
        f"{cpu}/cpu.cfs_period_us": "100000\n",
        f"{memory_at}/memory.limit_in_bytes": f"{1 << 30}\n",
    }


V1_MOUNTS = (
    "40 30 0:30 {root} {base}/memory rw - cgroup cgroup rw,memory\n"
    "41 30 0:31 {root} {base}/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "42 30 0:32 {root} {base}/systemd rw - cgroup systemd rw,name=systemd\n"
)
V1_GROUPS = "12:cpu,cpuacct:{group}\n8:memory:{group}\n1:name=systemd:{group}\n"
V2_LIMITS = {"cpu.max": "250000 100000\n", "memory.max": f"{1 << 30}\n"}


def v2(folder: str) -> dict[str, str]:
    return {f"{folder}/{name}": value for name, value in V2_LIMITS.items()}


LIMITED = {
    "v2-mounted-elsewhere": limited(EL2_MOUNTS.format(point="/cgroup/unified"), "0::/job\n", v2("/cgroup/unified/job")),
    "v2-of-which-only-mounts-is-known": limited(
        None,
        "0::/job\n",
        {"/proc/mounts": "cgroup2 /cgroup/unified cgroup2 rw,nosuid 0 0\n", **v2("/cgroup/unified/job")},
    ),
    "v2-set-on-a-parent": limited(
        EL2_MOUNTS.format(point="/sys/fs/cgroup"),
        "0::/user.slice/user-1000.slice/a.scope\n",
        {**v2("/sys/fs/cgroup/user.slice"), "/sys/fs/cgroup/user.slice/user-1000.slice/memory.max": "max\n"},
    ),
    "v2-in-a-container-with-the-hosts-names": limited(
        EL2_MOUNTS.format(point="/sys/fs/cgroup").replace(" / /sys", " /docker/4f /sys"),
        "0::/docker/4f\n",
        v2("/sys/fs/cgroup"),
    ),
    "v1-in-its-usual-place": limited(
        V1_MOUNTS.format(root="/", base="/sys/fs/cgroup"),
        V1_GROUPS.format(group="/slurm/job"),
        v1("/sys/fs/cgroup/cpu,cpuacct/slurm/job", "/sys/fs/cgroup/memory/slurm"),
    ),
    "v1-mounted-elsewhere": limited(
        V1_MOUNTS.format(root="/", base="/mnt/cg"),
        V1_GROUPS.format(group="/job"),
        v1("/mnt/cg/cpu,cpuacct/job", "/mnt/cg/memory/job"),
    ),
    "v1-in-a-container": limited(
        V1_MOUNTS.format(root="/kubepods/pod1", base="/sys/fs/cgroup"),
        V1_GROUPS.format(group="/kubepods/pod1"),
        v1("/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/memory"),
    ),
    "v1-of-which-no-mount-is-known": limited(
        None, V1_GROUPS.format(group="/docker/4f"), v1("/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/memory")
    ),
    "hybrid": limited(
        V1_MOUNTS.format(root="/", base="/sys/fs/cgroup") + EL2_MOUNTS.format(point="/sys/fs/cgroup/unified"),
        V1_GROUPS.format(group="/job") + "0::/job\n",
        {
            **v1("/sys/fs/cgroup/cpu,cpuacct/job", "/sys/fs/cgroup/memory/job"),
            "/sys/fs/cgroup/unified/job/cgroup.procs": "1",
        },
    ),
    "affinity-and-cpuset-that-share-three-cpus": limited(
        EL2_MOUNTS.format(point="/sys/fs/cgroup"),
        "0::/\n",
        {**v2("/sys/fs/cgroup"), "/sys/fs/cgroup/cpuset.cpus.effective": "0-7\n"},
        affinity=(5, 6, 7, 8, 9),
    ),
}

MACHINES = {**JETSONS, **CONTAINERS, **BOARDS, **SERVERS, **LIMITED}


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_that_was_never_seen_is_seen_as_it_is(name: str) -> None:
    files, answers, expected = MACHINES[name]
    profile = probe_host(FakeHost(files, **answers), host_id="unseen")
    assert list(differences(expected, profile.table())) == []


@pytest.mark.parametrize("name", MACHINES)
def test_no_probe_fails_on_a_machine_that_was_never_seen(name: str) -> None:
    files, answers, _ = MACHINES[name]
    assert probe_host(FakeHost(files, **answers), host_id="unseen").problems == ()


def test_cpus_that_the_power_mode_switched_off_are_not_counted_though_affinity_has_them() -> None:
    files = {f"{CPUS}/online": "0-3\n", "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpuset.cpus.effective": "2-5\n"}
    profile = probe_host(FakeHost(files, affinity=tuple(range(8))), host_id="unseen")
    assert (profile.cpu.online, profile.cpu.effective) == (4, 2.0)
