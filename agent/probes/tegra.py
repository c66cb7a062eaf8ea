"""Names of NVIDIA's Tegra systems on a chip that Jetson modules have, and the part numbers of these modules.

Sources: NVIDIA's device trees and CUDA GPU list, as collected in jetson_stats, jetson-gpio and go-nvlib; chip numbers
in the names of Linux's SMCCC SoC id, where NVIDIA is 036b (SMCCC_SOC_ID_T241 of drivers/irqchip/irq-gic-v3.c).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# Compute capability by chip; Thor's is 10.1 in the numbering of before CUDA 13.
COMPUTE_CAPABILITIES = {
    "tegra124": "3.2",
    "tegra210": "5.3",
    "tegra186": "6.2",
    "tegra194": "7.2",
    "tegra234": "8.7",
    "tegra264": "11.0",
}
# The kernel's names of the GPUs.
GPU_NAMES = {
    "tegra124": "GK20A",
    "tegra210": "GM20B",
    "tegra186": "GP10B",
    "tegra194": "GV11B",
    "tegra234": "GA10B",
    "tegra264": "GB10B",
}
# Device trees of R34 and R35 end with the name of the family.
_FAMILIES = {"tegra23x": "tegra234", "tegra26x": "tegra264"}
# What tegra_fuse shows: the chip's number in hexadecimal is its name.
_CHIP_IDS = {0x40: "tegra124", 0x21: "tegra210", 0x18: "tegra186", 0x19: "tegra194", 0x23: "tegra234", 0x26: "tegra264"}
# Cores that only one of these chips has; Cortex-A57 is in two, and Denver may be switched off.
_CORES = {
    "Denver-2": "tegra186",
    "Carmel": "tegra194",
    "Cortex-A78AE": "tegra234",
    "Neoverse-V3AE": "tegra264",
}
# Cores of all Jetsons: a TK1 has the first, a Nano and a TX1 the second.
_ALL_CORES = {"Cortex-A15", "Cortex-A57", *_CORES}
# Names of the GPU as a device with a variable clock (/sys/class/devfreq), by their ends.
_CLOCKED_GPUS = {
    "57000000.gpu": "tegra210",
    ".gp10b": "tegra186",
    ".gv11b": "tegra194",
    ".ga10b": "tegra234",
    "gpu-gpc-0": "tegra264",
}
# Releases that run on one chip only.
_ONLY_CHIPS = {"36": "tegra234", "38": "tegra264"}
# Module part numbers that may stand alone in a device tree: id, then the known variants.
_MODULES = {
    "p2180": "1000",
    "p2888": "0001 0003 0004 0005 0006 0008",
    "p3310": "1000",
    "p3448": "0000 0002 0003",
    "p3489": "0000 0888",
    "p3636": "0001",
    "p3668": "0000 0001 0003",
    "p3701": "0000 0002 0004 0005 0008",
    "p3767": "0000 0001 0003 0004 0005",
    "p3834": "0008",
    "p3904": "0000",
}
_KNOWN = {f"{number}-{variant}" for number, variants in _MODULES.items() for variant in variants.split()}
# Developer kits that upstream device trees (arch/arm64/boot/dts/nvidia) name in place of their module; the modules of
# an AGX Xavier have one kit, whatever their variant.
_KITS = {"p2371-2180": "p2180-1000", "p2771-0000": "p3310-1000", "p2972-0000": "p2888", "p3450-0000": "p3448-0000"}
_PART = r"p\d{4}-\d{4}"


def parse_soc(compatible: Sequence[str]) -> str | None:
    """Return the chip that a device tree's `compatible` names (tegra234); None for other machines."""
    names = [entry.removeprefix("nvidia,") for entry in compatible if entry.startswith("nvidia,")]
    exact = next((name for name in names if name in COMPUTE_CAPABILITIES), None)
    return exact or next((_FAMILIES[name] for name in names if name in _FAMILIES), None)


def soc_of_chip_id(chip: int | None) -> str | None:
    """Return the chip of the number that tegra_fuse or soc0 shows; None for an unknown one."""
    return None if chip is None else _CHIP_IDS.get(chip)


def parse_chip_id(text: str) -> int | None:
    """Return the chip's number from soc_id: "35" of the Tegra driver, or "jep106:036b:0234", which has its name in it.

    None for the chips of others.
    """
    own = re.fullmatch(r"jep106:036b:0([0-9a-f]{3})", text)
    if own is not None:
        return next((number for number, chip in _CHIP_IDS.items() if chip == f"tegra{own[1]}"), None)
    return int(text) if re.fullmatch(r"[0-9]{1,4}", text) else None


def soc_of_parts(cores: Sequence[str], clocked: Sequence[str]) -> str | None:
    """Return the chip of a Jetson by its core names and its names in /sys/class/devfreq, which containers see."""
    by_core = next((_CORES[core] for core in cores if core in _CORES), None)
    chips = (chip for name in clocked for end, chip in _CLOCKED_GPUS.items() if name.endswith(end))
    return by_core or next(chips, None)


def may_be_jetson(cores: Sequence[str]) -> bool:
    """Say whether a Jetson may have such cores; nothing speaks against it where they are not known."""
    return not cores or not _ALL_CORES.isdisjoint(cores)


def soc_of_release(l4t: str | None) -> str | None:
    """Return the chip that an L4T release is made for; None when it is made for several."""
    return _ONLY_CHIPS.get((l4t or "").partition(".")[0])


def parse_module(compatible: Sequence[str]) -> str | None:
    """Return the module's part number (p3767-0005) from `compatible`: carrier+module first, then a module alone."""
    for entry in compatible:
        match = re.search(rf"\+({_PART})", entry)
        if match:
            return match[1]
    numbers = [match[1] for entry in compatible if (match := re.search(rf",({_PART})\b", entry))]
    return next((_KITS.get(number, number) for number in numbers if number in _KNOWN or number in _KITS), None)


def parse_dts_name(path: str) -> str | None:
    """Return the part number from the name of the device tree's source: the first that belongs to a module."""
    return next((number for number in re.findall(_PART, path) if number.partition("-")[0] in _MODULES), None)


def parse_board_id(text: str) -> str | None:
    """Return p3310 from "3310:0000:A0". What follows is not the variant of the part number."""
    match = re.match(r"(\d{4}):", text)
    return f"p{match[1]}" if match else None


def parse_super_mode(compatible: Sequence[str]) -> bool | None:
    """Say whether the device tree is the one with the higher clocks of "Super"; None without a device tree."""
    return any(entry.endswith("-super") for entry in compatible) if compatible else None
