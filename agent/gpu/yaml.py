"""YAML as far as NVIDIA's toolkit writes it: block mappings and lists of plain or quoted words, one value a line.

Whatever else YAML has (anchors, tags, flow collections, text over several lines) is refused: a specification that is
half understood would give a job half a GPU, or a whole one too many.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from agent.errors import InvalidInput

_KEY = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s"'\[\]{},#&*!|>%@`:-][^:#]*?)\s*:(?:\s+(.*))?""")
_EMPTY = {"[]": list, "{}": dict}
_DEEPEST = 32


class _Line(NamedTuple):
    number: int
    indent: int
    text: str


def parse_yaml(text: str) -> Any:
    """Return mappings, lists and words (all scalars stay text). Raises InvalidInput naming the line."""
    lines = [line for number, raw in enumerate(text.splitlines(), 1) if (line := _line(number, raw)) is not None]
    if not lines:
        raise InvalidInput("it is empty")
    value, rest = _block(lines, 0)
    if rest:
        raise _refused(rest[0])
    return value


def _line(number: int, raw: str) -> _Line | None:
    text = raw.strip()
    if not text or text.startswith("#") or (text == "---" and raw.startswith("---")):
        return None
    if "\t" in raw[: len(raw) - len(raw.lstrip())]:
        raise InvalidInput(f"line {number} is indented by a tab; YAML wants blanks")
    return _Line(number, len(raw) - len(raw.lstrip(" ")), text)


def _refused(line: _Line) -> InvalidInput:
    return InvalidInput(f"line {line.number} ({line.text[:60]!r}) is no such YAML as nvidia-ctk writes")


def _block(lines: list[_Line], depth: int) -> tuple[Any, list[_Line]]:
    """Return the value that begins at the first line, and the lines behind it."""
    if depth > _DEEPEST:
        raise _refused(lines[0])
    return _list(lines, depth) if _is_item(lines[0]) else _mapping(lines, depth)


def _is_item(line: _Line) -> bool:
    return line.text == "-" or line.text.startswith("- ")


def _list(lines: list[_Line], depth: int) -> tuple[list[Any], list[_Line]]:
    items: list[Any] = []
    indent = lines[0].indent
    while lines and lines[0].indent == indent and _is_item(lines[0]):
        first, inner = lines[0], lines[0].text[1:].lstrip()
        lines = lines[1:]
        if inner and not _KEY.fullmatch(inner):
            items.append(_scalar(first, inner))
            continue
        if inner:
            lines = [_Line(first.number, indent + len(first.text) - len(inner), inner), *lines]
        if not lines or lines[0].indent <= indent:
            raise _refused(first)
        item, lines = _block(lines, depth + 1)
        items.append(item)
    return items, lines


def _mapping(lines: list[_Line], depth: int) -> tuple[dict[str, Any], list[_Line]]:
    table: dict[str, Any] = {}
    indent = lines[0].indent
    while lines and lines[0].indent == indent and not _is_item(lines[0]):
        first, match = lines[0], _KEY.fullmatch(lines[0].text)
        if match is None or (key := _scalar(first, match[1])) in table:
            raise _refused(first)
        lines = lines[1:]
        if match[2]:
            table[key] = _EMPTY[match[2]]() if match[2] in _EMPTY else _scalar(first, match[2])
        elif lines and (lines[0].indent > indent or (lines[0].indent == indent and _is_item(lines[0]))):
            table[key], lines = _block(lines, depth + 1)
        else:
            table[key] = None
    return table, lines


def _scalar(line: _Line, text: str) -> str:
    if text.startswith('"'):
        try:
            value = json.loads(text)
        except ValueError:
            raise _refused(line) from None
        return str(value)
    if text.startswith("'"):
        if not re.fullmatch(r"'(?:[^']|'')*'", text):
            raise _refused(line)
        return text[1:-1].replace("''", "'")
    if text[0] in "[]{},#&*!|>%@`" or " #" in text or text.endswith(":") or ": " in text:
        raise _refused(line)
    return text
