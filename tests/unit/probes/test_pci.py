from __future__ import annotations

import pytest
from agent.probes.pci import PciDevice, is_on_processor, normal_address, parse_proc, pci_devices

from tests.unit.probes.fakehost import FakeHost


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("00000000:0F:00.0", "0000:0f:00.0"),
        ("0000000F:01:00.0", "000f:01:00.0"),
        ("00010000:02:00.0", "10000:02:00.0"),
        ("0000:3b:00.1", "0000:3b:00.1"),
        ("NotSupported", None),
        ("0000:01:00.9", None),
    ],
)
def test_an_address_has_one_form(text: str, address: str | None) -> None:
    assert normal_address(text) == address


@pytest.mark.parametrize(
    ("vendor", "kind", "is_gpu"),
    [
        ("10de", "0300", True),
        ("10de", "0302", True),
        ("10de", "0380", True),
        ("10de", "1200", True),
        ("10de", "0604", False),  # the bridges of a Tegra
        ("10de", "0680", False),  # NVSwitch
        ("10de", "0403", False),  # audio
        ("1002", "1200", True),  # Instinct
        ("1022", "1180", False),
        ("8086", "0380", True),
        ("8086", "1200", False),  # NPU
        ("1d0f", "0300", False),  # EC2's console
        ("1a03", "0300", False),  # a BMC
    ],
)
def test_a_gpu_is_told_by_class_and_vendor(vendor: str, kind: str, is_gpu: bool) -> None:
    assert PciDevice("0000:01:00.0", vendor, "1111", kind).is_gpu is is_gpu


def test_a_device_is_read_from_sysfs_with_its_driver() -> None:
    folder = "/sys/bus/pci/devices/0000:01:00.0"
    files = {"class": "0x030000\n", "vendor": "0x10de\n", "device": "0x2204\n", "uevent": "DRIVER=nvidia\nPCI_ID=a\n"}
    host = FakeHost({f"{folder}/{name}": text for name, text in files.items()})
    assert pci_devices(host) == (PciDevice("0000:01:00.0", "10de", "2204", "0300", "nvidia"),)


def test_a_device_that_vanishes_while_it_is_read_is_left_out() -> None:
    assert pci_devices(FakeHost({"/sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de"})) == ()


def test_old_lists_tell_a_gpu_by_its_driver() -> None:
    zeros = "\t0" * 15
    text = f"4310\t10026939\t18{zeros}\tamdgpu\n4311\t1002aad8\t0{zeros}\t\nbroken\n"
    gpu, audio = parse_proc(text)
    assert (gpu.address, gpu.id, gpu.driver, gpu.is_gpu) == ("0000:43:02.0", "1002:6939", "amdgpu", True)
    assert (audio.address, audio.is_gpu) == ("0000:43:02.1", False)


def test_graphics_of_the_processor_are_told_from_cards() -> None:
    apu = PciDevice("0000:c1:00.0", "1002", "15bf", "0300")
    security = PciDevice("0000:c1:00.2", "1022", "15c7", "1080")
    card = PciDevice("0000:03:00.0", "1002", "744c", "0300")
    assert is_on_processor(apu, (apu, security, card))
    assert not is_on_processor(card, (apu, security, card))
    assert is_on_processor(PciDevice("0000:00:02.0", "8086", "a7a0", "0300"), ())
    assert not is_on_processor(PciDevice("0000:03:00.0", "8086", "56a0", "0300"), ())
