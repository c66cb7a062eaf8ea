"""Durations as Go writes them: "20m", "1h30m", "1.5h", "300ms"; no days, no spaces, and a unit in every part."""

from __future__ import annotations

import math
import re

from agent.studioml.fields import Fields, as_number

HINT = 'a duration such as "20m" or "1h30m"'
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST_TEXT = 100  # characters
_LONGEST = 2.0**63 / 1e9  # seconds, what Go can hold


def seconds(text: str) -> float | None:
    """Return the seconds that the text means, in capital letters too; None when it is no duration."""
    body = text.strip().lower()
    if len(body) > _LONGEST_TEXT:
        return None
    sign = -1.0 if body.startswith("-") else 1.0
    body = body[1:] if body[:1] in ("+", "-") else body
    if body == "0":
        return 0.0
    parts = _PART.findall(body)
    if not parts or "".join(number + unit for number, unit in parts) != body:
        return None
    total = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return sign * total if math.isfinite(total) and total < _LONGEST else None


def limit(fields: Fields, name: str) -> float | None:
    """Return the seconds that something may take; None where there is no such limit. Raises Dropped."""
    value = fields[name]
    if value is None or value == "":
        return None
    found = seconds(value) if isinstance(value, str) else None
    if found is None or found <= 0:
        raise fields.wrong(name, f"{HINT}, longer than 0")
    return found


def frequency(fields: Fields, name: str) -> float | None:
    """Return the seconds between two times; a number without a unit is minutes. None or 0 = never. Raises Dropped."""
    value = fields[name]
    if value is None or value == "":
        return None
    minutes = as_number(value)
    found = seconds(value) if minutes is None and isinstance(value, str) else minutes and minutes * 60
    if found is None or found < 0 or found >= _LONGEST:
        raise fields.wrong(name, f"{HINT}, or a number of minutes")
    return found or None
