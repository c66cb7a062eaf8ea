"""The power mode of a Jetson: nvpmodel's own files, and what `nvpmodel -q` prints."""

from __future__ import annotations

import re

from agent.model.capabilities import PowerMode
from agent.ports import Host
from agent.probes.host import read_text

_MODES = "/etc/nvpmodel.conf"
_STATUS = "/var/lib/nvpmodel/status"


def power_mode(host: Host) -> PowerMode:
    """Return the mode that is set: from the files where they tell it, else from the command."""
    number = parse_status(read_text(host, _STATUS) or "")
    name = parse_modes(read_text(host, _MODES) or "").get(number) if number is not None else None
    if name is not None:
        return PowerMode(number, name)
    answer = parse_answer(host.query("nvpmodel") or "")
    return PowerMode(number) if answer == PowerMode() else answer


def parse_status(text: str) -> int | None:
    """Return the number of the mode from nvpmodel's status file ("pmode:0002 fmode:quiet")."""
    match = re.search(r"\bpmode:\s*(\d{1,4})", text)
    return int(match[1]) if match else None


def parse_modes(text: str) -> dict[int, str]:
    """Return the names of the modes by number from nvpmodel.conf."""
    found = re.findall(r"^<\s*POWER_MODEL\s+ID=(\d{1,4})\s+NAME=(\S+)\s*>", text, re.MULTILINE)
    return {int(number): name for number, name in found}


def parse_answer(text: str) -> PowerMode:
    """Return the mode from the output of `nvpmodel -q`.

    Errors (without root), warnings and the fan mode may stand before, between and after the two lines.
    """
    name = re.search(r"^NV Power Mode:[ \t]*(\S.*?)[ \t]*$", text, re.MULTILINE)
    number = re.search(r"^[ \t]*(\d{1,4})[ \t]*$", text[name.end() :] if name else "", re.MULTILINE)
    return PowerMode(int(number[1]) if number else None, name[1] if name else None)
