"""The constraints of `requires.where`: PATH OP VALUE over the capabilities object, and nothing more."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from agent.errors import InvalidInput, nearest
from agent.model.pattern import PatternError, compiled, found_in
from agent.model.units import parse_size

OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "contains", "matches", "exists")
_MOST_CHARACTERS = 1000
_FORM = re.compile(r"\s*([A-Za-z_][\w.]*)\s*(!=|<=|>=|=|<|>|\s[a-z]+\b)\s*(.*?)\s*")
# 36.4.3, v2 (levels of a CPU), 6.0 DP: a preview comes before the version that it is one of.
_VERSION = re.compile(r"v?(\d{1,18}(?:\.\d{1,18})*)(?: (DP|EA|PRE|PRE-DP))?", re.ASCII)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


class Constraint(NamedTuple):
    """One comparison, such as ("jetson.l4t", ">=", "36.4")."""

    path: str
    operator: str
    value: str


def parse_constraint(text: str) -> Constraint:
    """Return the constraint that `text` spells. Raises InvalidInput with the form that would be right."""
    if len(text) > _MOST_CHARACTERS:
        hint = f"at most {_MOST_CHARACTERS} characters"
        raise InvalidInput(f'constraint "{text[:40]}..." has {len(text)} characters', hint=hint)
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
        compiled(pattern)
    except PatternError as error:
        hint = "a regular expression of literals, ., [a-z], \\d \\w \\s, (a|b), * + ? {2,3}, ^ and $"
        raise InvalidInput(f'constraint "{text}": {error}', hint=hint) from None


def look_up(facts: Mapping[str, Any], path: str) -> Any:
    """Return the value at the dotted `path`, or None where there is nothing."""
    found: Any = facts
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def holds(constraint: Constraint, facts: Mapping[str, Any]) -> bool:
    """Say whether the constraint is true of `facts`; an unknown value (None) makes every comparison false.

    A list is a set: `contains` asks for one member, `matches` for one that is so, `=` and `!=` for the members that
    the value names, separated by commas.
    """
    found = look_up(facts, constraint.path)
    if found is None:
        return False
    if constraint.operator == "exists":
        return True
    if isinstance(found, Sequence) and not isinstance(found, str):
        return _holds_of_set([_text(member) for member in found if not isinstance(member, Mapping)], constraint)
    if constraint.operator == "contains":
        return isinstance(found, str) and constraint.value in found
    if constraint.operator == "matches":
        return found_in(compiled(constraint.value), _text(found))
    return _compare(found, constraint.operator, constraint.value)


def _holds_of_set(members: Sequence[str], constraint: Constraint) -> bool:
    if constraint.operator == "contains":
        return constraint.value in members
    if constraint.operator == "matches":
        return any(found_in(compiled(constraint.value), member) for member in members)
    if constraint.operator not in ("=", "!="):
        return False
    named = {name.strip() for name in constraint.value.split(",")}
    return (named == set(members)) == (constraint.operator == "=")


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
        except (InvalidInput, OverflowError):
            return _text(found), value
    text = _text(found)
    left, right = _version(text), _version(value)
    return (text, value) if left is None or right is None else (left, right)


def _version(text: str) -> tuple[tuple[int, ...], bool] | None:
    """Return (numbers without zeros at the end, whether it is no preview); None for what is no version."""
    match = _VERSION.fullmatch(text)
    if match is None:
        return None
    numbers = [int(part) for part in match[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers), match[2] is None


def _text(found: Any) -> str:
    return str(found).lower() if isinstance(found, bool) else str(found)
