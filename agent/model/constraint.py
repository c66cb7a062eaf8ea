"""The constraints of `requires.where`: PATH OP VALUE over the capabilities object, and nothing more."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from agent.errors import InvalidInput, nearest
from agent.model.units import parse_size

OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "contains", "matches", "exists")
_FORM = re.compile(r"\s*([A-Za-z_][\w.]*)\s*(!=|<=|>=|=|<|>|\s[a-z]+\b)\s*(.*?)\s*")
_VERSION = re.compile(r"\d+(?:\.\d+)*")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


class Constraint(NamedTuple):
    """One comparison, such as ("jetson.l4t", ">=", "36.4")."""

    path: str
    operator: str
    value: str


def parse_constraint(text: str) -> Constraint:
    """Return the constraint that `text` spells. Raises InvalidInput with the form that would be right."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise InvalidInput(f'constraint "{text}"', hint='write PATH OP VALUE, such as "memory.total_bytes >= 8GiB"')
    path, operator, value = match[1], match[2].strip(), match[3].strip("\"'")
    if operator not in OPERATORS:
        raise InvalidInput(f'constraint "{text}": operator "{operator}"', hint=nearest(operator, OPERATORS))
    if value[:1] in ("=", "<", ">", "!"):
        raise InvalidInput(
            f'constraint "{text}": operator "{operator}{value[0]}"', hint="known: " + " ".join(OPERATORS)
        )
    if bool(value) == (operator == "exists"):
        raise InvalidInput(f'constraint "{text}"', hint='"exists" takes no value, every other operator one')
    if operator == "matches":
        _checked_pattern(text, value)
    return Constraint(path, operator, value)


def _checked_pattern(text: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise InvalidInput(f'constraint "{text}": {error}', hint="a regular expression") from None


def look_up(facts: Mapping[str, Any], path: str) -> Any:
    """Return the value at the dotted `path`, or None where there is nothing."""
    found: Any = facts
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def holds(constraint: Constraint, facts: Mapping[str, Any]) -> bool:
    """Say whether the constraint is true of `facts`; an unknown value (None) makes every comparison false."""
    found = look_up(facts, constraint.path)
    if found is None:
        return False
    if constraint.operator == "exists":
        return True
    if constraint.operator == "contains":
        return constraint.value in found if isinstance(found, (str, Sequence)) else False
    if constraint.operator == "matches":
        return re.search(constraint.value, _text(found)) is not None
    return _compare(found, constraint.operator, constraint.value)


def _compare(found: Any, operator: str, value: str) -> bool:
    left, right = _comparable(found, value)
    if operator == "=":
        return bool(left == right)
    if operator == "!=":
        return bool(left != right)
    if isinstance(left, str):
        return False
    less, equal = bool(left < right), bool(left == right)
    return {"<": less, "<=": less or equal, ">": not (less or equal), ">=": not less}[operator]


def _comparable(found: Any, value: str) -> tuple[Any, Any]:
    """Return both sides as numbers, as versions (tuples of int), or else as text."""
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        try:
            # A size is whole bytes: as one, 6.5 would be 6.
            return float(found), float(value) if _NUMBER.fullmatch(value) else float(parse_size(value))
        except InvalidInput:
            return _text(found), value
    text = _text(found)
    if _VERSION.fullmatch(text) and _VERSION.fullmatch(value):
        left, right = _version(text), _version(value)
        width = max(len(left), len(right))
        return left + (0,) * (width - len(left)), right + (0,) * (width - len(right))
    return text, value


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _text(found: Any) -> str:
    return str(found).lower() if isinstance(found, bool) else str(found)
