"""The revision code of a Raspberry Pi: what a board without device tree and model line is.

Source: "Raspberry Pi revision codes" in the Raspberry Pi documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

_NEW_STYLE = 1 << 23
_TYPES = {
    0x00: "Model A",
    0x01: "Model B",
    0x02: "Model A Plus",
    0x03: "Model B Plus",
    0x04: "2 Model B",
    0x06: "Compute Module",
    0x08: "3 Model B",
    0x09: "Zero",
    0x0A: "Compute Module 3",
    0x0C: "Zero W",
    0x0D: "3 Model B Plus",
    0x0E: "3 Model A Plus",
    0x10: "Compute Module 3 Plus",
    0x11: "4 Model B",
    0x12: "Zero 2 W",
    0x13: "400",
    0x14: "Compute Module 4",
    0x15: "Compute Module 4S",
    0x17: "5 Model B",
    0x18: "Compute Module 5",
    0x19: "500",
    0x1A: "Compute Module 5 Lite",
}
_CHIPS = ("bcm2835", "bcm2836", "bcm2837", "bcm2711", "bcm2712")
_OLD_TYPES = {
    "Model A": (0x07, 0x08, 0x09),
    "Model B": (0x02, 0x03, 0x04, 0x05, 0x06, 0x0D, 0x0E, 0x0F),
    "Model B Plus": (0x10, 0x13),
    "Compute Module": (0x11, 0x14),
    "Model A Plus": (0x12, 0x15),
}
_OLD = {code: name for name, codes in _OLD_TYPES.items() for code in codes}
_OLD_MASK = 0xFFFF  # above: whether the warranty is void


class Pi(NamedTuple):
    """Model as the firmware spells it, and chip."""

    model: str | None
    soc: str | None


def parse_tail(fields: Mapping[str, str]) -> Pi | None:
    """Return the board from the lines below the CPUs in cpuinfo; None for other boards.

    Hardware is no help beyond the family: it says BCM2835 on all boards of many kernels.
    """
    model = fields.get("Model", "")
    if not (model.startswith("Raspberry Pi") or fields.get("Hardware", "").startswith(("BCM27", "BCM28"))):
        return None
    known = parse_revision(fields.get("Revision", ""))
    return Pi(model or known.model, known.soc)


def parse_revision(text: str) -> Pi:
    """Return model and chip from a hexadecimal revision code, of the new style ("a02082") or the old ("0010")."""
    try:
        code = int(text[:16], 16)
    except ValueError:
        return Pi(None, None)
    if not code & _NEW_STYLE:
        name = _OLD.get(code & _OLD_MASK)
        return Pi(_full(name), _CHIPS[0] if name else None)
    chip = code >> 12 & 0xF
    return Pi(_full(_TYPES.get(code >> 4 & 0xFF)), _CHIPS[chip] if chip < len(_CHIPS) else None)


def _full(name: str | None) -> str | None:
    return f"Raspberry Pi {name}" if name else None
