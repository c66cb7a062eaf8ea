"""Whatever files and answers hold: no parser raises, none takes long, and a profile comes of it that can be written."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import pkgutil
import random
import string
import time
from collections.abc import Callable, Iterator
from typing import Any

import agent.probes
import pytest
from agent.adapters.host import RecordedHost
from agent.probes import probe_host
from agent.probes.host import ProbeProblem

from tests.hosts import RECORDED, recorded_hosts

_SHORT = 64 * 1024  # bytes of a recorded file that are worth a mutation
_LONG = 200_000  # characters: more than any file of a healthy host has
_TIME = 2.0  # seconds of this process; what grows with the square of its input takes minutes
_ALPHABET = string.printable + "\0\x1b²٣é€\ufffd"
_NUMBERS = (
    "0",
    "1 0",
    "-1",
    "4294967295",
    "9" * 30,
    "0x",
    "0xffffffffffffffff",
    "1e9",
    "٣",
    "²",
    "nan",
    "0-",
    "-",
    "0-99999999999",
)
# What is repeated in a long text: signs that parsers look for.
_PIECES = (
    "0",
    " ",
    "\n",
    "-",
    "0-",
    "0,",
    "a:",
    ": ",
    "\t:",
    "\0",
    "0x",
    "p0000-0000 ",
    "(",
    "cpu\t: 0\n",
    "a b ",
    "1.",
)
_JSON: tuple[Any, ...] = (
    None,
    True,
    -1,
    1.5,
    10**40,
    "",
    "NotSupported",
    "GpuIsLost",
    "\0",
    [],
    [None],
    [1, 1],
    {},
    {"a": []},
    [[[[]]]],
)


def _parsers() -> Iterator[Any]:
    for module in pkgutil.walk_packages(agent.probes.__path__, "agent.probes."):
        for name, function in inspect.getmembers(importlib.import_module(module.name), inspect.isfunction):
            if name.startswith("parse_") and function.__module__ == module.name:
                yield pytest.param(function, id=f"{module.name.rpartition('.')[2]}.{name}")


PARSERS = tuple(_parsers())


def _corpus() -> list[str]:
    files = (path for path in RECORDED.rglob("*") if path.is_file() and path.name != "expected.json")
    texts = (path.read_bytes()[:_SHORT].decode(errors="replace") for path in sorted(files))
    return [line for text in texts for line in text.splitlines() if line.strip()]


LINES = _corpus()


def _mutated(dice: random.Random, text: str) -> str:
    """Return the text with a few places cut, doubled or replaced."""
    for _ in range(dice.randint(0, 4)):
        start = dice.randrange(len(text) + 1)
        end = min(len(text), start + dice.choice((0, 1, 1, 2, 8, 100)))
        filling = dice.choice(("", dice.choice(_ALPHABET), dice.choice(_NUMBERS), text[start:end] * 2, "\n", ":", "\t"))
        text = text[:start] + filling + text[end:]
    return text


def _text(dice: random.Random) -> str:
    if dice.random() < 0.1:
        return "".join(dice.choices(_ALPHABET, k=dice.randint(0, 80)))
    return _mutated(dice, "\n".join(dice.choices(LINES, k=dice.choice((1, 1, 2, 5, 20)))))


def _value(dice: random.Random, depth: int = 3) -> Any:
    kind = dice.random()
    if depth == 0 or kind < 0.5:
        return dice.choice((*_JSON, _text(dice)))
    if kind < 0.7:
        return [_value(dice, depth - 1) for _ in range(dice.randrange(4))]
    keys = (
        "init",
        "devices",
        "uuid",
        "name",
        "mig_mode",
        "mig_devices",
        "processes",
        "memory_info",
        "pid",
        "total_mib",
    )
    return {dice.choice(keys): _value(dice, depth - 1) for _ in range(dice.randrange(6))}


# By the annotation of a parameter: how to make a value of it from a text and a source of chance.
_MAKE: dict[str, Callable[[random.Random, str], Any]] = {
    "str": lambda dice, text: text,
    "str | None": lambda dice, text: dice.choice((None, text)),
    "bytes": lambda dice, text: text.encode(errors="replace"),
    "Sequence[str]": lambda dice, text: text.splitlines(),
    "dict[str, str]": lambda dice, text: dict(line.partition(":")[::2] for line in text.splitlines()),
    "Mapping[str, str]": lambda dice, text: dict(line.partition(":")[::2] for line in text.splitlines()),
    "Any": lambda dice, text: _value(dice),
}


def _call(parser: Any, dice: random.Random, text: str) -> None:
    """Call the parser; only what its docstring says may be raised."""
    parameters = inspect.signature(parser).parameters.values()
    documented = tuple(error for error in (ValueError, ProbeProblem) if f"Raises {error.__name__}" in parser.__doc__)
    with contextlib.suppress(*documented):
        parser(*(_MAKE[str(parameter.annotation)](dice, text) for parameter in parameters))


def test_the_parsers_are_found() -> None:
    assert len(PARSERS) >= 40


@pytest.mark.parametrize("parser", PARSERS)
def test_a_parser_has_an_answer_to_everything(parser: Any) -> None:
    dice = random.Random(parser.__qualname__)
    for _ in range(300):
        _call(parser, dice, _text(dice))
    for text in ("", "\0", *_NUMBERS):
        _call(parser, dice, text)


@pytest.mark.parametrize("parser", PARSERS)
def test_a_parser_is_not_held_up_by_a_long_text(parser: Any) -> None:
    dice = random.Random(1)
    for piece in _PIECES:
        text = (piece * _LONG)[:_LONG]
        for form in (text, f"NVRM version: {text}", f"POWER_MODEL {text}!", f"# R36 {text}"):
            before = time.process_time()
            _call(parser, dice, form)
            assert time.process_time() - before < _TIME, f"{form[:30]!r}..."


class _Disturbed:
    """A recorded host some of whose files, directories and answers are not what they should be."""

    def __init__(self, name: str, dice: random.Random) -> None:
        self._host = RecordedHost(RECORDED / name)
        self._dice = dice

    def read(self, path: str) -> bytes | None:
        content = self._host.read(path)
        if content is None or self._dice.random() < 0.7:
            return content
        text = content[:_SHORT].decode(errors="replace")
        other = self._dice.choice((_mutated(self._dice, text), _text(self._dice), "", None))
        return None if other is None else other.encode(errors="replace") + self._dice.choice((b"", b"\xff\xfe"))

    def list(self, path: str) -> tuple[str, ...]:
        names = self._host.list(path)
        return names if self._dice.random() < 0.9 else (*names[1:], self._dice.choice(("", "cpu", "²", "0", "x" * 300)))

    def query(self, name: str) -> Any:
        answer = self._host.query(name)
        if self._dice.random() < 0.8:
            return answer
        if name == "nvml":
            return _value(self._dice)
        return _mutated(self._dice, answer) if isinstance(answer, str) else answer


@pytest.mark.parametrize("name", recorded_hosts())
def test_a_disturbed_host_has_a_profile_in_time(name: str) -> None:
    for seed in range(20):
        before = time.process_time()
        profile = probe_host(_Disturbed(name, random.Random(f"{name}{seed}")))
        assert time.process_time() - before < _TIME, seed
        assert json.loads(json.dumps(profile.table())), seed
        assert profile.digest(), seed
