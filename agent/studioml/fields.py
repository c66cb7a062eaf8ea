"""The objects of a request, read kindly: numbers may be texts, null is as good as nothing, the unknown is left alone.

What cannot be read raises Dropped, with the field, its value and what would be right.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from agent.errors import Dropped

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_SHOWN = 80  # characters of a value that an error shows
_LONGEST_NUMBER = 50  # characters
_MOST = 10**6  # of anything that is counted


class Fields:
    """One JSON object, and the path to it."""

    def __init__(self, path: str, values: Mapping[str, Any], *, secret: bool = False) -> None:
        """secret: no error may show what is in it."""
        self.path = path
        self._values = values
        self._secret = secret

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __getitem__(self, name: str) -> Any:
        return self._values.get(name)

    def wrong(self, name: str, hint: str) -> Dropped:
        """Return the error about a field; `hint` says what would be right."""
        path = f"{self.path}.{name}" if self.path else name
        if name not in self._values:
            return Dropped(f"{path} is missing", hint=hint)
        return Dropped(path if self._secret else f"{path} = {shown(self._values[name])}", hint=hint)

    def text(self, name: str) -> str | None:
        """Return a text; None for null, an empty one, or none."""
        value = self[name]
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, "a text")
        return value or None

    def flag(self, name: str) -> bool | None:
        """Return true or false; None for null or nothing."""
        value = self[name]
        if value is not None and not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def number(self, name: str) -> float | None:
        """Return a number, given as one or as a text; None for null, an empty text, or nothing."""
        value = self[name]
        if value is None or value == "":
            return None
        number = as_number(value)
        if number is None:
            raise self.wrong(name, "a number")
        return number

    def count(self, name: str) -> int:
        """Return a whole number from 0 on; 0 for null, an empty text, or nothing."""
        number = self.number(name) or 0.0
        if not 0 <= number <= _MOST or not number.is_integer():
            raise self.wrong(name, f"a whole number from 0 to {_MOST}")
        return int(number)

    def table(self, name: str, *, secret: bool = False) -> Fields | None:
        """Return the object of that name; None for null or nothing. secret: as for a new one."""
        value = self[name]
        if value is None:
            return None
        secret = secret or self._secret
        if not isinstance(value, Mapping):
            raise Fields(self.path, self._values, secret=secret).wrong(name, "an object")
        path = f"{self.path}.{name}" if self.path else name
        return Fields(path, value, secret=secret)

    def table_if_any(self, name: str) -> Fields:
        """Return the object of that name, an empty one for everything else: clients put anything there."""
        value = self[name]
        path = f"{self.path}.{name}" if self.path else name
        return Fields(path, value if isinstance(value, Mapping) else {}, secret=self._secret)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts; none for null or nothing."""
        value = self[name]
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self.wrong(name, "a list of texts")
        return tuple(value)


def as_number(value: object) -> float | None:
    """Return a finite number, given as one or as a text; None for anything else."""
    if isinstance(value, str):
        text = value.strip()
        value = float(text) if len(text) <= _LONGEST_NUMBER and _NUMBER.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def shown(value: object) -> str:
    """Return a value as JSON has it, its end cut off when it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
