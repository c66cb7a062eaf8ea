from __future__ import annotations

import pytest
from agent.probes.board import parse_dmi, parse_soc, parse_vendor, probe
from agent.probes.raspberrypi import Pi, parse_revision

from tests.unit.probes.fakehost import FakeHost

TREE, DMI = "/proc/device-tree", "/sys/class/dmi/id"


@pytest.mark.parametrize(
    ("compatible", "model", "vendor"),
    [
        (("raspberrypi,4-compute-module", "brcm,bcm2711"), "Raspberry Pi Compute Module 4 Rev 1.1", "Raspberry Pi"),
        (("radxa,rock-5b", "rockchip,rk3588"), "Radxa ROCK 5B", "Radxa"),
        (("rockchip,rk3588s-orangepi-5", "rockchip,rk3588"), "Orange Pi 5", "Xunlong"),
        (("nvidia,quill", "nvidia,tegra186"), "quill", "NVIDIA"),
        (("acme,edge-box", "fsl,imx8mp"), "ACME Edge Box", "ACME"),
        (("acme,edge-box", "fsl,imx8mp"), "Edge Box", "acme"),
        (("nonsense",), "Thing", None),
        ((), "Raspberry Pi 3 Model B Rev 1.2", "Raspberry Pi"),
        ((), None, None),
    ],
)
def test_vendors_by_device_tree(compatible: tuple[str, ...], model: str | None, vendor: str | None) -> None:
    assert parse_vendor(compatible, model) == vendor


@pytest.mark.parametrize(
    ("compatible", "soc"),
    [
        (("raspberrypi,3-model-b-plus", "brcm,bcm2837"), "bcm2837"),
        (("starfive,visionfive-2-v1.3b", "starfive,jh7110"), "jh7110"),
        (("apple,j274", "apple,t8103", "apple,arm-platform"), "t8103"),
        (("ibm,powernv", "ibm,p9-openbmc"), None),
        (("linux,dummy-virt",), None),
        ((), None),
    ],
)
def test_the_chip_is_the_last_entry(compatible: tuple[str, ...], soc: str | None) -> None:
    assert parse_soc(compatible) == soc


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"sys_vendor": "HP", "product_name": "ProDesk 600"}, ("HP", "ProDesk 600")),
        (
            {"sys_vendor": "LENOVO", "product_name": "20XWCTO1WW", "product_version": "ThinkPad X1 Carbon Gen 9"},
            ("LENOVO", "ThinkPad X1 Carbon Gen 9"),
        ),
        (
            {
                "sys_vendor": "System manufacturer",
                "product_name": "System Product Name",
                "board_vendor": "ASUSTeK COMPUTER INC.",
                "board_name": "PRIME B450M-A",
            },
            ("ASUSTeK COMPUTER INC.", "PRIME B450M-A"),
        ),
        ({"sys_vendor": "To Be Filled By O.E.M.", "product_name": "0000"}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_dmi(fields: dict[str, str], found: tuple[str | None, str | None]) -> None:
    assert parse_dmi(fields) == found


@pytest.mark.parametrize(
    ("code", "pi"),
    [
        ("a02082", Pi("Raspberry Pi 3 Model B", "bcm2837")),
        ("c03115", Pi("Raspberry Pi 4 Model B", "bcm2711")),
        ("902120", Pi("Raspberry Pi Zero 2 W", "bcm2837")),
        ("2a02082", Pi("Raspberry Pi 3 Model B", "bcm2837")),
        ("1000010", Pi("Raspberry Pi Model B Plus", "bcm2835")),
        ("0010", Pi("Raspberry Pi Model B Plus", "bcm2835")),
        ("80fff0", Pi(None, None)),
        ("0000", Pi(None, None)),
        ("none", Pi(None, None)),
    ],
)
def test_revision_codes(code: str, pi: Pi) -> None:
    assert parse_revision(code) == pi


def test_a_revision_of_another_board_is_not_read() -> None:
    cpuinfo = "processor : 0\n\nHardware : Allwinner sun8i Family\nRevision : a02082\n"
    assert probe(FakeHost({"/proc/cpuinfo": cpuinfo})).model is None


def test_the_device_tree_comes_before_dmi() -> None:
    tree = {f"{TREE}/model": "NVIDIA Orin Nano Developer Kit\0", f"{TREE}/compatible": "nvidia,x\0nvidia,tegra234\0"}
    dmi = {f"{DMI}/sys_vendor": "Acme\n", f"{DMI}/product_name": "Box\n"}
    facts = probe(FakeHost({**tree, **dmi}))
    assert (facts.vendor, facts.model, facts.soc) == ("NVIDIA", "NVIDIA Orin Nano Developer Kit", "tegra234")
    assert probe(FakeHost(dmi)).model == "Box"


def test_the_tree_of_a_virtual_machine_names_no_board() -> None:
    dummy = {f"{TREE}/model": "linux,dummy-virt\0", f"{TREE}/compatible": "linux,dummy-virt\0"}
    facts = probe(FakeHost({**dummy, f"{DMI}/sys_vendor": "QEMU\n"}))
    assert (facts.vendor, facts.model, facts.soc) == ("QEMU", None, None)
    assert probe(FakeHost(dummy)).vendor is None


def test_the_tree_is_found_in_sysfs_too() -> None:
    base = "/sys/firmware/devicetree/base"
    assert probe(FakeHost({f"{base}/model": "Radxa ROCK 5B\0"})).vendor == "Radxa"
