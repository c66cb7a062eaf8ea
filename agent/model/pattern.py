"""The regular expressions of `matches`: the part of the language for which the time grows with the text alone.

Known are literals, `.`, sets ([a-z_], \\d, \\w, \\s and their opposites), groups, `|`, `*`, `+`, `?`, `{m,n}`, `^` and
`$`; not known is what can only be decided by trying, such as back references. A pattern becomes a program of few
instructions, and all ways through it are followed at once (Thompson's construction): nothing is tried twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

MOST_CHARACTERS = 200  # of a pattern
MOST_INSTRUCTIONS = 256
_DEEPEST = 20  # groups in groups
_MOST_TEXT = 4096  # characters of a text that are looked at: no fact of a host is that long
_REPETITION = re.compile(r"\{(\d+)\}|\{(\d*),(\d*)\}", re.ASCII)
_SETS = {letter: re.compile(f"\\{letter}").fullmatch for letter in "dDwWsS"}
_ESCAPES = {"t": "\t", "n": "\n"}

Test = Callable[[str], bool]


class PatternError(ValueError):
    """A pattern that is none, or is too much."""


class Instruction(NamedTuple):
    """One step: take a character that passes `test`, or stand at the start or end, or go on at `ways` from here."""

    test: Test | None = None
    ways: tuple[int, ...] = ()
    at: str = ""


Program = tuple[Instruction, ...]


@lru_cache(maxsize=64)
def compiled(pattern: str) -> Program:
    """Return the program of a pattern. Raises PatternError."""
    if len(pattern) > MOST_CHARACTERS:
        raise PatternError(f"it has {len(pattern)} characters, {MOST_CHARACTERS} are allowed")
    return _Parser(pattern).program()


def found_in(program: Program, text: str) -> bool:
    """Say whether some part of the text is as the pattern of `program` says."""
    places: set[int] = set()
    for index in range(min(len(text), _MOST_TEXT) + 1):
        places = _reached(program, {0, *places}, index == 0, index == len(text))
        if len(program) in places:
            return True
        letter = text[index : index + 1]
        places = {place + 1 for place in places if (test := program[place].test) and letter and test(letter)}
    return False


def _reached(program: Program, places: Iterable[int], at_start: bool, at_end: bool) -> set[int]:
    """Return the places, and all to which one gets from there without a character."""
    reached: set[int] = set()
    waiting = list(places)
    while waiting:
        place = waiting.pop()
        if place in reached:
            continue
        reached.add(place)
        step = program[place] if place < len(program) else Instruction()
        if (step.at == "^" and at_start) or (step.at == "$" and at_end):
            waiting.append(place + 1)
        waiting += [place + way for way in step.ways]
    return reached


class _Parser:
    """Reads a pattern from left to right. Instructions count their ways from themselves, so programs can be joined."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._next = 0
        self._depth = 0

    def program(self) -> Program:
        program = self._alternatives()
        if self._peek():
            raise PatternError('unbalanced ")"')
        return program

    def _peek(self) -> str:
        return self._pattern[self._next : self._next + 1]

    def _take(self) -> str:
        letter = self._peek()
        self._next += 1
        return letter

    def _took(self, text: str) -> bool:
        if not self._pattern.startswith(text, self._next):
            return False
        self._next += len(text)
        return True

    def _alternatives(self) -> Program:
        program = self._sequence()
        while self._took("|"):
            other = self._sequence()
            split, past = Instruction(ways=(1, len(program) + 2)), Instruction(ways=(len(other) + 1,))
            program = _small((split, *program, past, *other))
        return program

    def _sequence(self) -> Program:
        program: Program = ()
        while self._peek() not in ("", "|", ")"):
            program = _small((*program, *self._repeated(self._atom())))
        return program

    def _repeated(self, program: Program) -> Program:
        if self._took("*"):
            program = _any_number(program)
        elif self._took("+"):
            program = (*program, *_any_number(program))
        elif self._took("?"):
            program = _optional(program)
        elif match := _REPETITION.match(self._pattern, self._next):
            self._next = match.end()
            program = _times(program, match)
        else:
            return program
        self._took("?")  # shortest first: the same for a yes or no
        if self._peek() in tuple("*+?"):
            raise PatternError("one repetition after another")
        return _small(program)

    def _atom(self) -> Program:
        letter = self._take()
        if letter == "(":
            return self._group()
        if letter in tuple("*+?"):
            raise PatternError(f'nothing before "{letter}" to repeat')
        if letter in ("^", "$"):
            return (Instruction(at=letter),)
        if letter == ".":
            return (Instruction(_is_other_than("\n")),)
        if letter == "[":
            return (Instruction(self._set()),)
        return (Instruction(self._escaped() if letter == "\\" else _is(letter)),)

    def _group(self) -> Program:
        if self._peek() == "?" and not self._took("?:"):
            raise PatternError('"(?" is known as "(?:" only')
        self._depth += 1
        if self._depth > _DEEPEST:
            raise PatternError(f"more than {_DEEPEST} groups in groups")
        program = self._alternatives()
        self._depth -= 1
        if not self._took(")"):
            raise PatternError('missing ")"')
        return program

    def _escaped(self) -> Test:
        letter = self._take()
        if letter in _SETS:
            return _is_of(letter)
        return _is(self._plain(letter))

    def _plain(self, letter: str) -> str:
        """Return the character that stands for itself after a backslash."""
        if letter in _ESCAPES:
            return _ESCAPES[letter]
        if not letter or letter.isalnum():
            raise PatternError(f'"\\{letter}" is not known')
        return letter

    def _set(self) -> Test:
        opposite = self._took("^")
        tests = [self._member()]  # a first "]" is a member
        while not self._took("]"):
            tests.append(self._member())
        return lambda letter: any(test(letter) for test in tests) != opposite

    def _member(self) -> Test:
        letter = self._take()
        if not letter:
            raise PatternError('missing "]"')
        if letter == "\\":
            letter = self._take()
            if letter in _SETS:
                return _is_of(letter)
            letter = self._plain(letter)
        if self._peek() != "-" or self._pattern[self._next + 1 : self._next + 2] in ("", "]"):
            return _is(letter)
        self._take()
        last = self._take()
        last = self._plain(self._take()) if last == "\\" else last
        if last < letter:
            raise PatternError(f'"{letter}-{last}" is no range')
        return lambda other: letter <= other <= last


def _is(letter: str) -> Test:
    return lambda other: other == letter


def _is_other_than(letter: str) -> Test:
    return lambda other: other != letter


def _is_of(name: str) -> Test:
    return lambda letter: _SETS[name](letter) is not None


def _small(program: Program) -> Program:
    if len(program) > MOST_INSTRUCTIONS:
        raise PatternError(f"written out, it has more than {MOST_INSTRUCTIONS} steps")
    return program


def _optional(program: Program) -> Program:
    return (Instruction(ways=(1, len(program) + 1)), *program)


def _any_number(program: Program) -> Program:
    return (Instruction(ways=(1, len(program) + 2)), *program, Instruction(ways=(-len(program) - 1,)))


def _times(program: Program, match: re.Match[str]) -> Program:
    """Return the program as often as "{m}", "{m,}", "{,n}" or "{m,n}" says."""
    least = int(match[1] or match[2] or 0)
    most = least if match[1] else int(match[3]) if match[3] else None
    if most is not None and most < least:
        raise PatternError(f'"{match[0]}" is no repetition')
    if max(least, most or 0) > MOST_INSTRUCTIONS:
        raise PatternError(f'"{match[0]}" is more than {MOST_INSTRUCTIONS} times')
    rest = _any_number(program) if most is None else _optional(program) * (most - least)
    return program * least + rest
