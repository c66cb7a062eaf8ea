"""A filter that writes a table of variables as TOML: `{{ edge_agent_config | edge_agent.edge_agent.to_toml }}`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

DOCUMENTATION = """
name: to_toml
short_description: Write a table of variables as TOML.
description:
  - Tables become tables, lists of tables become arrays of tables, everything else becomes a value in one line.
  - Keys keep their order, but for tables, which come after plain values.
positional: _input
options:
  _input:
    description: Text, numbers, booleans, lists and tables; nothing that is null.
    type: dict
    required: true
"""
EXAMPLES = """
- name: Show a table
  ansible.builtin.debug:
    msg: "{{ {'resources': {'cpus': 2}} | edge_agent.edge_agent.to_toml }}"
"""
RETURN = """
_value:
  description: The document, which ends with a new line unless it is empty.
  type: str
"""

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(table: Mapping[str, Any]) -> str:
    """Return `table` as a TOML document. Raises ValueError for what TOML has no form for, and names its key."""
    if not isinstance(table, Mapping):
        raise ValueError(f"to_toml: a table is needed, this is {_kind(table)}: {table!r}")
    return "\n".join(_lines(table, ())) + "\n" if table else ""


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines of a table: what ends with its line first, since a header holds for all that follows."""
    below = {}
    for key, value in table.items():
        if (isinstance(value, Mapping) and value) or _is_tables(value):
            below[key] = value
        else:
            yield f"{_key(key)} = {_value(value, (*path, str(key)))}"
    for key, value in below.items():
        name = (*path, str(key))
        header = ".".join(map(_key, name))
        for each in (value,) if isinstance(value, Mapping) else value:
            yield ""
            yield f"[{header}]" if isinstance(value, Mapping) else f"[[{header}]]"
            yield from _lines(each, name)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _value(value: Any, path: tuple[str, ...]) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(each, path) for each in value)}]"
    if isinstance(value, Mapping):
        pairs = (f"{_key(key)} = {_value(each, (*path, str(key)))}" for key, each in value.items())
        return f"{{{', '.join(pairs)}}}"
    raise ValueError(f"to_toml: {'.'.join(path)} is {_kind(value)}, for which TOML has no form: leave the key out")


def _kind(value: Any) -> str:
    return "null" if value is None else f"of type {type(value).__name__}"


def _key(key: Any) -> str:
    return str(key) if _BARE.fullmatch(str(key)) else _text(str(key))


def _text(text: str) -> str:
    return json.dumps(str(text), ensure_ascii=False).replace("\x7f", "\\u007f")


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Return the filters by name."""
        return {"to_toml": to_toml}
