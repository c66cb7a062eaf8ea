"""TOML text with the line of every key, so that an error in a file can name the place.

The standard parser decides what is valid and gives the values; the scanner below only walks over text that is
known to be valid and notes where each key, table and array element begins. Paths are written as in the errors
of `agent.model.schema`: "queues[0].url".
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from agent.errors import InvalidInput
from agent.model.schema import join

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\n]+|#[^\n]*)*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*'""")
_SCALAR = re.compile(
    r'''"""(?:\\.|[^\\])*?"""(?!")|\'\'\'.*?\'\'\'(?!\')|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|[^,\]}#\n]+''',
    re.DOTALL,
)
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)$")


class Document(NamedTuple):
    """A parsed file: its values, and the line (from 1) where each path begins."""

    table: dict[str, Any]
    lines: dict[str, int]


def parse(text: str, source: str) -> Document:
    """Return the document that `text` is. Raises InvalidInput naming `source` and line of a syntax error."""
    text = text.replace("\r\n", "\n")
    try:
        return Document(tomllib.loads(text), _Scanner(text).lines())
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(str(error), text, source) from None
    except RecursionError:
        raise InvalidInput("not valid TOML: nested too deeply", source=source) from None


def parse_value(text: str) -> Any:
    """Return the value that `text` is when written after `key = `. Raises InvalidInput when it is none."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        table = {}
    if set(table) != {"value"}:
        raise InvalidInput(f"{text!r} is not a TOML value")
    return table["value"]


def _syntax_error(message: str, text: str, source: str) -> InvalidInput:
    match = _AT_LINE.search(message)
    line = int(match[1]) if match else text.rstrip("\n").count("\n") + 1
    return InvalidInput(f"not valid TOML: {message.partition(' (at ')[0]}", source=f"{source}:{line}")


def blamed(what: str, paths: Iterable[str]) -> str | None:
    """Return the longest of `paths` that an error text of `agent.model.schema` begins with, or None."""
    text = what.removeprefix('unknown key "')
    fitting = (path for path in paths if text.startswith(path) and text[len(path) : len(path) + 1] in '.[ :="')
    return max(fitting, key=len, default=None)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, value) for everything in `value` that is no table or array, and for empty ones."""
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from leaves(below, join(path, key))
    elif isinstance(value, list) and value:
        for index, below in enumerate(value):
            yield from leaves(below, f"{path}[{index}]")
    elif path:
        yield path, value


class _Scanner:
    """One walk over a valid document."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._lines: dict[str, int] = {}
        self._tables: dict[str, int] = {}  # arrays of tables: how many so far

    def lines(self) -> dict[str, int]:
        table = ""
        self._take(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._take(_BLANK)
        return self._lines

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        found = match[0] if match else ""
        self._at += len(found)
        self._line += found.count("\n")
        return found

    def _skip(self, character: str) -> bool:
        there = self._text.startswith(character, self._at)
        self._at += len(character) if there else 0
        return there

    def _note(self, path: str) -> None:
        self._lines.setdefault(path, self._line)

    def _header(self) -> str:
        """Read `[a.b]` or `[[a.b]]`; return the path of the table that it opens."""
        array = self._skip("[[") or not self._skip("[")
        *parents, last = self._keys()
        self._skip("]]" if array else "]")
        path = ""
        for key in parents:
            path = self._newest(join(path, key))
            self._note(path)
        path = join(path, last)
        if array:
            self._tables[path] = self._tables.get(path, 0) + 1
            self._note(path)
        path = self._newest(path)
        self._note(path)
        return path

    def _newest(self, path: str) -> str:
        count = self._tables.get(path)
        return f"{path}[{count - 1}]" if count else path

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._take(_SPACE)
            keys.append(_plain(self._take(_KEY)))
            self._take(_SPACE)
            if not self._skip("."):
                return keys

    def _pair(self, table: str) -> None:
        path = table
        for key in self._keys():
            path = join(path, key)
            self._note(path)
        self._skip("=")
        self._take(_SPACE)
        self._value(path)

    def _value(self, path: str) -> None:
        if self._skip("["):
            self._array(path)
        elif self._skip("{"):
            self._inline_table(path)
        else:
            self._take(_SCALAR)

    def _array(self, path: str) -> None:
        index = 0
        self._take(_BLANK)
        while not self._skip("]"):
            self._note(f"{path}[{index}]")
            self._value(f"{path}[{index}]")
            index += 1
            self._take(_BLANK)
            self._skip(",")
            self._take(_BLANK)

    def _inline_table(self, path: str) -> None:
        self._take(_BLANK)
        while not self._skip("}"):
            self._pair(path)
            self._take(_BLANK)
            self._skip(",")
            self._take(_BLANK)


def _plain(key: str) -> str:
    return str(parse_value(key)) if key[:1] in ("'", '"') else key
