"""Who made this machine and what it is called: the device tree, cpuinfo on a Raspberry Pi, DMI."""

from __future__ import annotations

from collections.abc import Sequence

from agent.model.capabilities import HostFacts
from agent.ports import Host
from agent.probes import devicetree, jetson, raspberrypi
from agent.probes.cpuinfo import parse_blocks
from agent.probes.host import read_text

_DMI = "/sys/class/dmi/id"
_FIELDS = ("sys_vendor", "product_name", "product_version", "board_vendor", "board_name")
# Vendors by the prefix that their boards have in device trees (the kernel's vendor-prefixes.yaml).
_PREFIXES = {
    "allwinner": "Allwinner",
    "amlogic": "Amlogic",
    "apple": "Apple",
    "asus": "ASUS",
    "bananapi": "Banana Pi",
    "beagle": "BeagleBoard.org",
    "firefly": "Firefly",
    "friendlyarm": "FriendlyElec",
    "fsl": "NXP",
    "hardkernel": "Hardkernel",
    "ibm": "IBM",
    "khadas": "Khadas",
    "libretech": "Libre Computer",
    "milkv": "Milk-V",
    "nvidia": "NVIDIA",
    "nxp": "NXP",
    "olimex": "Olimex",
    "pine64": "Pine64",
    "qcom": "Qualcomm",
    "radxa": "Radxa",
    "raspberrypi": "Raspberry Pi",
    "rockchip": "Rockchip",
    "seeed": "Seeed Studio",
    "sifive": "SiFive",
    "sinovoip": "Sinovoip",
    "sipeed": "Sipeed",
    "starfive": "StarFive",
    "ti": "Texas Instruments",
    "toradex": "Toradex",
    "turing": "Turing Machines",
    "xlnx": "Xilinx",
    "xunlong": "Xunlong",
}
# What vendors call their boards: their own kernels often have the chip maker's prefix.
_BRANDS = {
    "ODROID": "Hardkernel",
    "Orange Pi": "Xunlong",
    "Banana Pi": "Sinovoip",
    "NanoPi": "FriendlyElec",
    "Radxa": "Radxa",
    "Raspberry Pi": "Raspberry Pi",
    "NVIDIA": "NVIDIA",
}
# Entries after the chip, and machines whose tree has no chip in this place.
_NOT_CHIPS = ("apple,arm-platform",)
_WITHOUT_CHIP = ("ibm,", "linux,", "qemu,")
_DUMMY = "linux,dummy-virt"
# What firmware says where its maker forgot to say something; compared without regard to case.
_PLACEHOLDERS = frozenset(
    (
        "default string",
        "empty",
        "invalid",
        "n/a",
        "none",
        "not applicable",
        "not specified",
        "o.e.m.",
        "oem",
        "system manufacturer",
        "system product name",
        "system version",
        "to be filled by o.e.m.",
        "undefined",
        "unknown",
    )
)


def probe(host: Host) -> HostFacts:
    """Return vendor, model and chip."""
    compatible = devicetree.strings(host, "compatible")
    model = " ".join(devicetree.strings(host, "model")) or None
    pi = _raspberry_pi(host) or raspberrypi.Pi(None, None)
    found = jetson.board(host)
    soc = found.soc if found else parse_soc(compatible) or pi.soc
    if (model or compatible or pi.model) and model != _DUMMY:
        name = model or pi.model
        return HostFacts(vendor=parse_vendor(compatible, name), model=name, soc=soc)
    vendor, name = parse_dmi({field: read_text(host, f"{_DMI}/{field}") or "" for field in _FIELDS})
    return HostFacts(vendor=vendor, model=name, soc=soc)


def _raspberry_pi(host: Host) -> raspberrypi.Pi | None:
    blocks = parse_blocks(read_text(host, "/proc/cpuinfo") or "")
    return raspberrypi.parse_tail({key: value for block in blocks for key, value in block.items()})


def parse_vendor(compatible: Sequence[str], model: str | None) -> str | None:
    """Return the vendor of a board from its device tree: by what the model begins with, else by the prefix."""
    brand = next((vendor for start, vendor in _BRANDS.items() if (model or "").startswith(start)), None)
    prefix, comma, _ = compatible[0].partition(",") if compatible else ("", "", "")
    if brand or not comma:
        return brand
    word = (model or "").partition(" ")[0]
    return _PREFIXES.get(prefix) or (word if word.casefold() == prefix.casefold() else prefix)


def parse_soc(compatible: Sequence[str]) -> str | None:
    """Return the chip (bcm2712, rk3588) that a device tree names: the last entry, after those of the board."""
    chips = [entry for entry in compatible[1:] if entry not in _NOT_CHIPS and not entry.startswith(_WITHOUT_CHIP)]
    return chips[-1].rpartition(",")[2] if chips else None


def parse_dmi(fields: dict[str, str]) -> tuple[str | None, str | None]:
    """Return vendor and model from DMI, those of the main board where the system's are not filled in."""
    told = {name: value for name, value in fields.items() if not is_placeholder(value)}
    vendor = told.get("sys_vendor") or told.get("board_vendor")
    if vendor == "LENOVO" and "product_version" in told:
        return vendor, told["product_version"]  # product_name is an order number
    return vendor, told.get("product_name") or told.get("board_name")


def is_placeholder(value: str) -> bool:
    """Say whether a DMI value is one that says nothing."""
    text = value.strip().casefold()
    return text in _PLACEHOLDERS or not text.strip("0 .-x")
