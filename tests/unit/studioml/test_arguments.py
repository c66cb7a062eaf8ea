from __future__ import annotations

import random
import shlex
from typing import Any

import pytest
from agent.studioml.arguments import unquoted

from tests.unit.studioml.requests import changed, read, refusal


def by_shlex(argument: str) -> str:
    """The rule, as the standard library's splitter has it."""
    try:
        words = shlex.split(argument)
    except ValueError:
        return argument
    return words[0] if len(words) == 1 else argument


@pytest.mark.parametrize(
    ("argument", "word"),
    [
        ("10", "10"),
        ("'a b'", "a b"),
        ("a b", "a b"),
        ("'it'\"'\"'s'", "it's"),
        ("it's", "it's"),
        ("'$HOME'", "$HOME"),
        ("$HOME", "$HOME"),
        ("''", ""),
        ("", ""),
        ("'a", "'a"),
        ("a\\ b", "a b"),
        ("a\\", "a\\"),
        ('"a\\"b\\x"', 'a"b\\x'),
        (" 'a b' ", "a b"),
        ("a\\ ", "a "),
        ("#1", "#1"),
        ("'a' 'b'", "'a' 'b'"),
        ("'é\u00a0x'", "é\u00a0x"),
    ],
)
def test_an_argument_loses_the_quotes_that_its_client_put_around_it(argument: str, word: str) -> None:
    assert unquoted(argument) == word == by_shlex(argument)


def test_quoting_is_undone_whatever_is_quoted() -> None:
    chance = random.Random(3)
    for _ in range(3000):
        text = "".join(chance.choices("ab'\"\\ \t\n$#\u00e9", k=chance.randrange(8)))
        assert unquoted(shlex.quote(text)) == text
        assert unquoted(text) == by_shlex(text)


@pytest.mark.parametrize(
    ("args", "words"), [(None, ()), (..., ()), ([], ()), ([1, 2.5, True, "x"], ("1", "2.5", "True", "x"))]
)
def test_arguments_that_are_no_texts_become_texts(args: Any, words: tuple[str, ...]) -> None:
    job = read(changed("experiment.args", args)).job
    assert job.command == ("python", "train.py", *words)


@pytest.mark.parametrize(
    ("filename", "word"),
    [
        ("sub/train.py", "sub/train.py"),
        ("sub/../train.py", "sub/../train.py"),
        ("./train.py", "./train.py"),
        ("a b'c.py", "a b'c.py"),
        ("-c", "./-c"),
        ("..train.py", "..train.py"),
    ],
)
def test_a_script_in_the_workspace_is_run_as_it_is_called(filename: str, word: str) -> None:
    job = read(changed("experiment.filename", filename)).job
    assert job.command is not None
    assert job.command[:2] == ("python", word)


@pytest.mark.parametrize("filename", ["/etc/passwd", "..", "../x", "a/../../x", "a/../..", "", None, 5, [], "a\0b"])
def test_a_script_elsewhere_is_refused(filename: Any) -> None:
    refusal(changed("experiment.filename", filename))


def test_a_module_needs_its_name() -> None:
    request = changed("experiment.filename", "-m")
    request["experiment"]["args"] = []
    assert "names the module" in str(refusal(request))
    request["experiment"]["args"] = ["pkg.mod", "'a b'"]
    assert read(request).job.command == ("python", "-m", "pkg.mod", "a b")


@pytest.mark.parametrize(
    ("pythonver", "program"), [("3.11", "python3"), (3, "python3"), ("2.7", "python"), (2, "python"), (None, "python")]
)
def test_in_an_image_the_interpreter_goes_by_the_version(pythonver: Any, program: str) -> None:
    request = changed("experiment.pythonver", pythonver, "02_singularity_localfile")
    assert read(request).job.command == (program, "train.py", "10")


def test_an_image_alone_needs_no_workspace() -> None:
    request = changed("experiment.artifacts.workspace", ..., "02_singularity_localfile_run")
    job = read(request).job
    assert job.command is None
    assert (job.workdir or "").endswith("/workspace")
