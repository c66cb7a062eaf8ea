"""What an experiment needs of its host, as native requirements."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from agent.errors import Dropped
from agent.studioml.fields import Fields, shown

SIZE_HINT = 'a size such as "512mb", "2g" (powers of 1000), "4GiB" (of 1024), or a number of bytes'
_SIZE = re.compile(r"([0-9.,]*)(.*)", re.DOTALL)
_LONGEST_SIZE = 50  # characters
_MOST_BYTES = 2**63
_PREFIXES = "kmgtpe"

# Shares of a card that the Go runner gave out; a card of another name is one.
_SLOTS = (
    (re.compile(r"A100-SXM4-40GB", re.IGNORECASE), 24),
    (re.compile(r"\bV100\b", re.IGNORECASE), 16),
    (re.compile(r"\bP100\b", re.IGNORECASE), 8),
    (re.compile(r"\bP40\b", re.IGNORECASE), 4),
    (re.compile(r"\bTITAN X\b|\bK80\b|\b(?:GTX|RTX) ?(?:10[5-8]0|20[5-8]0)\b", re.IGNORECASE), 2),
)


def requirements(needed: Fields, cards: Sequence[str]) -> dict[str, Any]:
    """Return `resources_needed` as the table `requires` of a native job. cards: the names of this host's.

    A card is never shared, so shares of cards become as many whole ones as this host needs for them; whole cards asked
    for by gpuCount stay what they are. gpuMem is what each card must have; alone it asks for none, and gpuMemStrict
    changes nothing where nobody else uses the card. No number of cores is one. Raises Dropped.
    """
    cpus = needed.number("cpus") or 1.0
    if cpus < 0:
        raise needed.wrong("cpus", "a number of cores")
    table: dict[str, Any] = {"cpus": cpus, "memory": _needed_size(needed, "ram"), "disk": _needed_size(needed, "hdd")}
    shares, whole = needed.count("gpus"), needed.count("gpuCount")
    memory = optional_size(needed, "gpuMem") or 0
    if not shares and not whole:
        return {**table, "accel": "none"}
    count, names = cards_for(shares, cards) if not whole else (whole, ())
    where: list[str | list[str]] = []
    if memory:
        where.append(f"memory_bytes >= {memory}")
    if names:
        where.append([f'name = "{name}"' for name in names])
    return {**table, "gpus": count, **({"gpu_where": where} if where else {})}


def cards_for(shares: int, cards: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    """Return how many cards have so many shares, and the names of those that do; no names = any.

    The fewest cards win. Of cards that this host lacks each counts as one share.
    """
    options = []
    for least in sorted({slots(card) for card in cards}):
        large = [card for card in cards if slots(card) >= least]
        count = math.ceil(shares / least)
        if count <= len(large):
            options.append((count, () if len(large) == len(cards) else tuple(sorted(set(large)))))
    if not options:
        return math.ceil(shares / min(map(slots, cards), default=1)), ()
    return min(options, key=lambda option: option[0])


def slots(card: str) -> int:
    """Return how many shares the card of this name has."""
    return next((count for pattern, count in _SLOTS if pattern.search(card)), 1)


def _needed_size(needed: Fields, name: str) -> int:
    size = optional_size(needed, name)
    if not size:
        raise needed.wrong(name, SIZE_HINT)
    return size


def optional_size(fields: Fields, name: str) -> int | None:
    """Return the bytes that a field says; None for null, an empty text, or nothing. Raises Dropped."""
    value = fields[name]
    if value is None or value == "":
        return None
    try:
        return size_of(value)
    except Dropped:
        raise fields.wrong(name, SIZE_HINT) from None


def size_of(value: object) -> int:
    """Return the bytes that a text such as "2g", or a bare number, means. Raises Dropped."""
    if isinstance(value, str):
        found = _parsed(value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        found = value
    else:
        found = None
    if found is None or not 0 <= found < _MOST_BYTES:  # NaN is not among them
        raise Dropped(f"{shown(value)} is not a size", hint=SIZE_HINT)
    return int(found)


def _parsed(text: str) -> float | None:
    match = _SIZE.fullmatch(text.strip())
    if match is None or len(text) > _LONGEST_SIZE:
        return None
    digits, unit = match[1].replace(",", ""), match[2].strip().lower()
    if not any(map(str.isdigit, digits)) or digits.count(".") > 1:
        return None
    unit = unit.removesuffix("b")
    prefix, base = (unit[:-1], 1024) if unit.endswith("i") else (unit, 1000)
    if prefix == "" and base == 1024:
        return None
    if prefix and (len(prefix) != 1 or prefix not in _PREFIXES):
        return None
    power = _PREFIXES.index(prefix) + 1 if prefix else 0
    return float(digits) * float(base**power)
