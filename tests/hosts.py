"""Recorded machines in tests/data/hosts, and the comparison of a profile with what is known of one.

expected.json is a part of the profile: every key in it must be there with that value. Lists of strings are compared
as sets, a key that ends in "+" lists members that must be there, one in "-" members that must not; entries of `gpus`
are paired by uuid, else by pci, else by their order; of other lists of objects each expected one needs a match.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

RECORDED = Path(__file__).parent / "data" / "hosts"


class Difference(NamedTuple):
    """A field that is not as expected."""

    path: str
    wanted: Any
    found: Any


def recorded_hosts() -> tuple[str, ...]:
    """Return the names of all recorded machines."""
    return tuple(sorted(file.parent.name for file in RECORDED.glob("*/expected.json")))


def expected(name: str) -> dict[str, Any]:
    """Return what is known of a recorded machine."""
    facts: dict[str, Any] = json.loads((RECORDED / name / "expected.json").read_text())
    return facts


def fields(wanted: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every field of `wanted`, as differences name them."""
    if isinstance(wanted, Mapping):
        for key, value in wanted.items():
            yield from fields(value, f"{path}.{key}".lstrip("."))
    elif isinstance(wanted, list) and any(isinstance(item, Mapping) for item in wanted):
        yield path
        for index, item in enumerate(wanted):
            yield from fields(item, f"{path}[{index}]")
    else:
        yield path


def differences(wanted: Any, found: Any, path: str = "") -> Iterator[Difference]:
    """Yield every field of `wanted` that `found` has not, or has with another value."""
    if isinstance(wanted, Mapping):
        for key, value in wanted.items():
            yield from _of_key(key, value, found, path)
    elif isinstance(wanted, list) and any(isinstance(item, Mapping) for item in wanted):
        yield from _of_objects(wanted, found if isinstance(found, Sequence) else (), path)
    elif isinstance(wanted, list):
        if not isinstance(found, Sequence) or sorted(map(str, wanted)) != sorted(map(str, found)):
            yield Difference(path, wanted, found)
    elif wanted != found or isinstance(wanted, bool) != isinstance(found, bool):
        yield Difference(path, wanted, found)


def _of_key(key: str, value: Any, found: Any, path: str) -> Iterator[Difference]:
    below = f"{path}.{key}".lstrip(".")
    if key.endswith(("+", "-")):
        members = set((found or {}).get(key[:-1]) or ())
        bad = set(value) - members if key.endswith("+") else set(value) & members
        if bad:
            yield Difference(below, value, sorted(members))
    elif not isinstance(found, Mapping) or key not in found:
        yield Difference(below, value, "no such key")
    else:
        yield from differences(value, found[key], below)


def _of_objects(wanted: Sequence[Any], found: Sequence[Any], path: str) -> Iterator[Difference]:
    if path == "gpus" and len(wanted) != len(found):
        yield Difference(path, f"{len(wanted)} entries", f"{len(found)} entries")
    for index, item in enumerate(wanted):
        partner = _partner(item, index, found, path)
        yield from differences(item, partner, f"{path}[{index}]")


def _partner(item: Mapping[str, Any], index: int, found: Sequence[Any], path: str) -> Any:
    if path != "gpus":
        return next((other for other in found if not list(differences(item, other))), None)
    for key in ("uuid", "pci"):
        named = [other for other in found if key in item and other.get(key) == item[key]]
        if named:
            return named[0]
    return found[index] if index < len(found) else None
