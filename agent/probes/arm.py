"""Names of Arm cores by implementer and part number: MIDR_EL1 as /proc/cpuinfo prints it.

Numbers: the technical reference manuals of the cores, as collected in util-linux (sys-utils/lscpu-arm.c).
"""

from __future__ import annotations

import re

_CORES = {
    "0x41": """
        b02 ARM11-MPCore, b36 ARM1136, b56 ARM1156, b76 ARM1176, c05 Cortex-A5, c07 Cortex-A7, c08 Cortex-A8,
        c09 Cortex-A9, c0d Cortex-A17, c0e Cortex-A17, c0f Cortex-A15, d01 Cortex-A32, d02 Cortex-A34,
        d03 Cortex-A53, d04 Cortex-A35, d05 Cortex-A55, d06 Cortex-A65, d07 Cortex-A57, d08 Cortex-A72,
        d09 Cortex-A73, d0a Cortex-A75, d0b Cortex-A76, d0c Neoverse-N1, d0d Cortex-A77, d0e Cortex-A76AE,
        d40 Neoverse-V1, d41 Cortex-A78, d42 Cortex-A78AE, d43 Cortex-A65AE, d44 Cortex-X1, d46 Cortex-A510,
        d47 Cortex-A710, d48 Cortex-X2, d49 Neoverse-N2, d4a Neoverse-E1, d4b Cortex-A78C, d4c Cortex-X1C,
        d4d Cortex-A715, d4e Cortex-X3, d4f Neoverse-V2, d80 Cortex-A520, d81 Cortex-A720, d82 Cortex-X4,
        d83 Neoverse-V3AE, d84 Neoverse-V3, d85 Cortex-X925, d87 Cortex-A725, d88 Cortex-A520AE,
        d89 Cortex-A720AE, d8a C1-Nano, d8b C1-Pro, d8c C1-Ultra, d8e Neoverse-N3, d8f Cortex-A320,
        d90 C1-Premium
        """,
    "0x42": "00f Brahma-B15, 100 Brahma-B53, 516 ThunderX2",
    "0x43": """
        0a0 ThunderX, 0a1 ThunderX-88XX, 0a2 ThunderX-81XX, 0a3 ThunderX-83XX, 0af ThunderX2-99xx,
        0b0 OcteonTX2, 0b1 OcteonTX2-98XX, 0b2 OcteonTX2-96XX, 0b3 OcteonTX2-95XX, 0b4 OcteonTX2-95XXN,
        0b5 OcteonTX2-95XXMM, 0b6 OcteonTX2-95XXO, 0b8 ThunderX3-T110
        """,
    "0x46": "001 A64FX, 003 MONAKA",
    "0x48": """
        d01 Kunpeng-920, d02 Kunpeng-920, d03 Kunpeng-920, d06 Kunpeng-950, d22 Kunpeng-920, d40 Cortex-A76,
        d41 Cortex-A77
        """,
    "0x4e": "000 Denver, 003 Denver-2, 004 Carmel, 010 Olympus",
    "0x50": "000 X-Gene",
    "0x51": """
        001 Oryon, 00f Scorpion, 02d Scorpion, 04d Krait, 06f Krait, 201 Kryo, 205 Kryo, 211 Kryo,
        800 Falkor-V1/Kryo, 801 Kryo-V2, 802 Kryo-3XX-Gold, 803 Kryo-3XX-Silver, 804 Kryo-4XX-Gold,
        805 Kryo-4XX-Silver, c00 Falkor, c01 Saphira
        """,
    "0x53": "001 exynos-m1, 002 exynos-m3, 003 exynos-m4, 004 exynos-m5",
    "0x56": "131 Feroceon-88FR131, 581 PJ4/PJ4b, 584 PJ4B-MP",
    "0x61": """
        020 Icestorm-A14, 021 Firestorm-A14, 022 Icestorm-M1, 023 Firestorm-M1, 024 Icestorm-M1-Pro,
        025 Firestorm-M1-Pro, 028 Icestorm-M1-Max, 029 Firestorm-M1-Max, 030 Blizzard-A15, 031 Avalanche-A15,
        032 Blizzard-M2, 033 Avalanche-M2, 034 Blizzard-M2-Pro, 035 Avalanche-M2-Pro, 036 Sawtooth-A16,
        037 Everest-A16, 038 Blizzard-M2-Max, 039 Avalanche-M2-Max
        """,
    "0x6d": "d49 Azure-Cobalt-100",
    "0xc0": "ac3 Ampere-1, ac4 Ampere-1a",
}


def _table(text: str) -> dict[int, str]:
    pairs = (entry.split() for entry in text.split(","))
    return {int(part, 16): name for part, name in pairs}


_NAMES = {int(implementer, 16): _table(text) for implementer, text in _CORES.items()}
# The ARM11 family: version 6 of the architecture, even where cpuinfo says "CPU architecture: 7".
_VERSION_6 = (0xB02, 0xB36, 0xB56, 0xB76)


def core_name(implementer: str, part: str) -> str:
    """Return the name of a core from the hexadecimal numbers in cpuinfo, or "0x41:0xd99" for an unknown one."""
    return _NAMES.get(_number(implementer), {}).get(_number(part), f"{implementer}:{part}")


def is_version_6(implementer: str, part: str) -> bool:
    """Say whether the core is one of architecture version 6."""
    return _number(implementer) == 0x41 and _number(part) in _VERSION_6


def _number(text: str) -> int:
    """Return a hexadecimal number, or -1, which no core has, for what is none."""
    return int(text, 16) if re.fullmatch(r"(0[xX])?[0-9a-fA-F]{1,8}", text) else -1
