from __future__ import annotations

import pytest
from agent.model.capabilities import Accelerator
from agent.probes.accelerators import parse_gfx, probe

from tests.unit.probes.fakehost import FakeHost


def pci(address: str, device_id: str, kind: str = "0x120000", driver: str = "") -> dict[str, str]:
    vendor, device = device_id.split(":")
    folder = f"/sys/bus/pci/devices/{address}"
    return {
        f"{folder}/vendor": f"0x{vendor}\n",
        f"{folder}/device": f"0x{device}\n",
        f"{folder}/class": f"{kind}\n",
        f"{folder}/uevent": f"DRIVER={driver}\n",
    }


def class_node(folder: str, name: str, driver: str, address: str = "") -> dict[str, str]:
    slot = f"PCI_SLOT_NAME={address}\n" if address else ""
    return {f"/sys/class/{folder}/{name}/device/uevent": f"DRIVER={driver}\n{slot}"}


HAILO = pci("0000:01:00.0", "1e60:2864")
NPU = pci("0000:00:0b.0", "8086:643e")
INTEL_GPU = pci("0000:00:02.0", "8086:a7a0", "0x030000", "i915")


@pytest.mark.parametrize(
    ("files", "nodes", "found"),
    [
        (HAILO, ("/dev/hailo0",), Accelerator("hailo", "hailo8", "/dev/hailo0")),
        (HAILO, (), Accelerator("hailo", "hailo8", None)),
        (pci("0000:01:00.0", "1e60:45c4"), ("/dev/hailo0",), Accelerator("hailo", "hailo10h", "/dev/hailo0")),
        (
            pci("0000:01:00.0", "1ac1:089a", "0xff0000"),
            ("/dev/apex_0",),
            Accelerator("google", "coral-edge-tpu", "/dev/apex_0"),
        ),
        (
            {**NPU, **class_node("accel", "accel0", "intel_vpu", "0000:00:0b.0")},
            (),
            Accelerator("intel", "npu", "/dev/accel/accel0"),
        ),
        (
            {
                **pci("0000:c4:00.1", "1022:17f0", "0x118000", "amdxdna"),
                **class_node("accel", "accel0", "amdxdna", "0000:c4:00.1"),
            },
            (),
            Accelerator("amd", "npu", "/dev/accel/accel0"),
        ),
        (pci("0000:05:00.0", "abcd:0001"), (), Accelerator("abcd", "abcd:0001", None)),
        (class_node("accel", "accel0", "rocket"), (), Accelerator("rockchip", "npu", "/dev/accel/accel0")),
        (class_node("accel", "accel3", "novel"), (), Accelerator(None, "novel", "/dev/accel/accel3")),
        (
            {**INTEL_GPU, **class_node("drm", "renderD128", "i915", "0000:00:02.0")},
            (),
            Accelerator("intel", "gpu", "/dev/dri/renderD128"),
        ),
        (
            {"/sys/class/kfd/kfd/topology/nodes/1/properties": "gfx_target_version 90010\ndrm_render_minor 129\n"},
            ("/dev/kfd",),
            Accelerator("amd", "gfx90a", "/dev/dri/renderD129"),
        ),
        (
            {"/sys/bus/usb/devices/2-1/idVendor": "18d1\n", "/sys/bus/usb/devices/2-1/idProduct": "9302\n"},
            ("/dev/null",),
            Accelerator("google", "coral-edge-tpu", "/sys/bus/usb/devices/2-1"),
        ),
        (
            {"/proc/device-tree/compatible": "radxa,rock-5b\0rockchip,rk3588\0"},
            (),
            Accelerator("rockchip", "npu", None),
        ),
        (
            {
                "/proc/device-tree/compatible": "radxa,rock-3a\0rockchip,rk3568\0",
                **class_node("drm", "renderD129", "RKNPU"),
            },
            (),
            Accelerator("rockchip", "npu", "/dev/dri/renderD129"),
        ),
        ({}, ("/dev/fastrpc-cdsp",), Accelerator("qualcomm", "cdsp", "/dev/fastrpc-cdsp")),
    ],
)
def test_one_accelerator(files: dict[str, str], nodes: tuple[str, ...], found: Accelerator) -> None:
    seen = {"/sys/class/net/lo/mtu": "65536", **files}
    assert probe(FakeHost(seen, dev_nodes=nodes)) == (found,)


def test_two_cards_have_the_nodes_in_the_order_of_their_addresses() -> None:
    files = {**HAILO, **pci("0000:02:00.0", "1e60:2864")}
    found = probe(FakeHost(files, dev_nodes=("/dev/hailo1", "/dev/hailo0")))
    assert [part.path for part in found or ()] == ["/dev/hailo0", "/dev/hailo1"]
    lone = probe(FakeHost(files, dev_nodes=("/dev/hailo1",)))
    assert [part.path for part in lone or ()] == [None, None]


def test_gpus_of_nvidia_and_ordinary_devices_are_none() -> None:
    files = {
        **pci("0000:01:00.0", "10de:2204", "0x030000", "nvidia"),
        **pci("0000:02:00.0", "10de:2330", "0x030200", "nvidia"),
        **pci("0000:03:00.0", "8086:15b8", "0x020000", "e1000e"),
        **INTEL_GPU,
    }
    assert probe(FakeHost(files)) == ()


def test_a_host_of_which_nothing_is_seen_has_unknown_accelerators() -> None:
    assert probe(FakeHost()) is None


@pytest.mark.parametrize(
    ("text", "name"), [("90402", "gfx942"), ("110501", "gfx1151"), ("90010", "gfx90a"), ("0", None), ("", None)]
)
def test_instruction_sets_of_amd(text: str, name: str | None) -> None:
    assert parse_gfx(text) == name
