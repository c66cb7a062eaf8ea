"""Sizes and durations as people write them, and back.

Sizes: an integer is bytes; "512MiB" and "1.5GiB" are powers of 1024, "4GB" is a power of 1000.
Durations: a number is seconds; "90s", "20m", "1h30m", "250ms", "2d" add up from left to right.
"""

from __future__ import annotations

import math
import re
from typing import Annotated

import msgspec

from agent.errors import InvalidInput

Bytes = Annotated[int, msgspec.Meta(ge=0, extra={"unit": "size"})]
Seconds = Annotated[float, msgspec.Meta(ge=0, extra={"unit": "duration"})]

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGTP]i?)?B?\s*", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_MOST = 2.0**63  # of bytes or seconds: more can neither be nor be counted
_SHOWN = 60  # characters of a wrong text that an error shows
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_size(text: str) -> int:
    """Return the bytes that "512MiB", "4GB" or "1024" mean; InvalidInput for anything else."""
    match = _SIZE.fullmatch(text)
    prefix = (match[2] or "").lower() if match else ""
    base = 1024 if prefix.endswith("i") else 1000
    count = float(match[1]) * base ** _POWERS[prefix.rstrip("i")] if match else math.inf
    if count >= _MOST:
        raise InvalidInput(f'"{_short(text)}" is not a size', hint='write "512MiB", "4GB" or a number of bytes')
    return int(count)


def parse_duration(text: str) -> float:
    """Return the seconds that "90s", "20m" or "1h30m" mean; InvalidInput for anything else."""
    compact = text.replace(" ", "")
    parts = _DURATION.findall(compact)
    whole = bool(parts) and "".join(number + unit for number, unit in parts) == compact
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts) if whole else math.inf
    if seconds >= _MOST:
        raise InvalidInput(
            f'"{_short(text)}" is not a duration', hint='write "90s", "20m", "1h30m" or a number of seconds'
        )
    return seconds


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def show_size(count: float | None) -> str:
    """Return bytes as people read them: "512 MiB", "1.5 GiB"; "-" for None."""
    if count is None:
        return "-"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return _trim(count, unit)
        count /= 1024
    return _trim(count, "TiB")


def _trim(count: float, unit: str) -> str:
    return f"{count:.1f}".removesuffix(".0") + f" {unit}"


def show_duration(seconds: float | None) -> str:
    """Return seconds as people read them: "0.4 s", "12 s", "3m20s", "2h05m", "3d04h"; "-" for None."""
    if seconds is None:
        return "-"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h{minutes:02d}m"
    return f"{hours // 24}d{hours % 24:02d}h"
