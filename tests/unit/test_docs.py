"""The pages: every word that people see in the command is explained in them, and every command line in them is one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from enum import Enum
from itertools import takewhile
from pathlib import Path
from typing import get_args

import click
import pytest
from agent.attempt import TRANSITIONS, State
from agent.board import ModeName
from agent.checks import CHECKS
from agent.cli import COMMANDS, cli
from agent.cli.help import read_pages
from agent.model.records import Outcome
from agent.model.verdict import Reason, Standing
from agent.policy import SETTLING
from agent.probes.reasons import REMEDIES
from click.testing import CliRunner

TOP = Path(__file__).parents[2]
PAGES = read_pages() | {name: (TOP / f"{name}.md").read_text() for name in ("README", "CONTRIBUTING", "CHANGELOG")}
_AFTER_THE_COMMAND = {"|", ">", "2>", "&", "#"}


def first_cells(page: str) -> list[str]:
    """Return the first cell of every row of every table of a page, without its quotes."""
    return re.findall(r"(?m)^\| `([^`|]+)` \|", PAGES[page])


def command_lines(text: str) -> Iterator[str]:
    """Yield the command lines of a page: quoted in a sentence, or at the start of an example's line."""
    yield from re.findall(r"`edge-agent(?: ([^`]*))?`", text)
    for line in re.findall(r"(?m)^    (?:\$ )?edge-agent (.*)$", text):
        yield re.split(r" {2,}", line)[0]


LINES = sorted({(page, line) for page, text in PAGES.items() for line in command_lines(text)})


def check(command: click.Command, words: list[str], parent: click.Context | None = None) -> None:
    """Read the words as the command would, without running it. Raises click.UsageError."""
    with click.Context(command, parent=parent, info_name=command.name) as ctx:
        given, rest, _ = command.make_parser(ctx).parse_args(list(words))
        if isinstance(command, click.Group):
            if rest and rest[0] != "COMMAND":
                _, below, rest = command.resolve_command(ctx, rest)
                assert below is not None
                check(below, rest, ctx)
            return
        if rest:
            raise click.UsageError(f"too many words: {rest}", ctx)
        for argument in command.params:
            if argument.required and not isinstance(given.get(argument.name or ""), str):
                raise click.MissingParameter(ctx=ctx, param=argument)


@pytest.mark.parametrize(("page", "line"), LINES)
def test_every_command_line_in_the_pages_can_be_typed(page: str, line: str) -> None:
    check(cli, list(takewhile(lambda word: word not in _AFTER_THE_COMMAND, shlex.split(line))))


@pytest.mark.parametrize("line", ["submitt job.toml", "submit", "submit a b", "submit --wiat a", "config chekc"])
def test_a_wrong_command_line_would_be_noticed(line: str) -> None:
    with pytest.raises(click.UsageError):
        check(cli, line.split())


def test_the_pages_have_command_lines() -> None:
    assert {page for page, _ in LINES} >= {"README", "operations", "refusals", "jobs", "configuration"}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_in_the_table_of_commands(name: str) -> None:
    assert any(cell.split()[:2] == ["edge-agent", name] for cell in first_cells("operations"))


def test_every_reason_has_its_row_and_no_row_is_without_a_reason() -> None:
    page = PAGES["refusals"].partition("## The reasons")[2].partition("##")[0]
    rows = re.findall(r"(?m)^\| `([^`]+)` \| (here|now|here, now) \| .+ \| .+ \|$", page)
    assert sorted(reason for reason, _ in rows) == sorted(reason.value for reason in Reason)


@pytest.mark.parametrize(
    ("page", "words"),
    [("refusals", Standing), ("path", Outcome), ("path", State)],
    ids=["standing", "outcome", "state"],
)
def test_every_word_of_the_model_is_on_its_page(page: str, words: type[Enum]) -> None:
    quoted = set(re.findall(r"`([^`]+)`", PAGES[page]))
    assert {word.value for word in words} <= quoted


def test_every_outcome_has_its_row() -> None:
    assert {outcome.value for outcome in Outcome} <= set(first_cells("path"))


def test_the_table_of_states_is_that_of_the_code() -> None:
    rows = set(re.findall(r"(?m)^\| `([a-z]+)` \| `([a-z-]+)` \| `([a-z]+)` \|$", PAGES["path"]))
    assert rows == {(state.value, event.value, after.value) for (state, event), after in TRANSITIONS.items()}


def test_the_table_of_settling_is_that_of_the_code() -> None:
    table = PAGES["path"].partition("## Settling")[2].partition("##")[0]
    rows = {name: cells.split(" | ") for name, cells in re.findall(r"(?m)^\| `([^`]+)` \| (.+) \|$", table)}
    words = {True: "yes", False: "-"}
    assert rows == {
        case.value: [
            row.message.value,
            row.ends,
            words[row.commits],
            words[row.uses_retry],
            row.pause.value,
            words[row.letter],
        ]
        for case, row in SETTLING.items()
    }


def test_every_reason_why_a_gpu_cannot_be_used_has_its_row() -> None:
    assert set(REMEDIES) <= set(first_cells("operations"))


def test_every_check_of_doctor_has_its_row() -> None:
    assert {name for name, _ in CHECKS} <= set(first_cells("operations"))


def test_every_mode_is_explained_to_operators() -> None:
    quoted = set(re.findall(r"`([^`]+)`", PAGES["operations"]))
    assert {*get_args(ModeName), "offline"} <= quoted


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_link_to_a_file_leads_somewhere(page: str) -> None:
    folder = TOP if page.isupper() else TOP / "agent/docs"
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGES[page])
    assert [link for link in links if not (folder / link).exists()] == []


def test_every_path_in_the_notes_for_contributors_exists() -> None:
    named = re.findall(r"`((?:agent|tests|packaging)/[\w./-]*)`", PAGES["CONTRIBUTING"])
    missing = [path for path in named if "NAME" not in path and not (TOP / path).exists()]
    assert named
    assert missing == []


def test_every_event_that_operators_are_told_of_is_logged_somewhere() -> None:
    table = PAGES["operations"].partition("## At 3 a.m.")[2]
    symptoms = re.findall(r"(?m)^\| ([^|]+) \|", table)
    named = {word for cell in symptoms for word in re.findall(r"`([a-z]+(?:-[a-z]+)+)`", cell)} - {"out-of-memory"}
    source = "".join(path.read_text() for path in (TOP / "agent").rglob("*.py"))
    assert named
    assert {name for name in named if f'"event": "{name}"' not in source} == set()


def test_every_page_has_a_title_and_says_its_topic_first() -> None:
    for topic, text in read_pages().items():
        assert re.match(rf"# {topic}: \w", text, re.IGNORECASE), topic


def test_the_message_on_the_page_about_studioml_becomes_what_is_shown_there(tmp_path: Path) -> None:
    page = PAGES["studioml"]
    message, shown = page.partition("$ cat message.json\n")[2].split("    $ edge-agent decode message.json\n")
    file = tmp_path / "message.json"
    file.write_text(message)
    wanted = [line[4:] for line in takewhile(lambda line: line.startswith("    "), shown.splitlines())]
    assert CliRunner().invoke(cli, ["decode", str(file)]).output.splitlines() == wanted
