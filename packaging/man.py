"""Print the manual page edge-agent(1), made of what the commands say of themselves.

man.py VERSION TIME         TIME in seconds since 1970
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone

import click

from agent.cli import cli

_FILES = (
    (
        "/etc/edge-agent/config.toml",
        "the configuration, and conf.d/*.toml beside it; every key is in it with its default",
    ),
    ("/etc/edge-agent/environment", "variables for the service, NAME=VALUE"),
    ("/var/lib/edge-agent", "all that the agent keeps: journal, jobs, cache"),
)
_STATUS = (
    ("0", "done"),
    ("1", "the job or the check failed"),
    ("2", "wrong use, or a wrong configuration: key, value, file and line are named"),
    ("3", "a needed part is missing or cannot be reached; what, and how to get it, is said"),
)


def escape(text: str) -> str:
    """Return text that troff prints as it is."""
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", plain, flags=re.MULTILINE)


def page(version: str, day: str) -> Iterator[str]:
    """Yield the lines of the page."""
    context = click.Context(cli, info_name="edge-agent")
    yield f'.TH EDGE\\-AGENT 1 {day} "edge-agent {escape(version)}" "User Commands"'
    yield ".SH NAME"
    yield "edge\\-agent \\- run queued container jobs on edge hosts"
    yield ".SH SYNOPSIS"
    yield ".B edge\\-agent"
    yield "[OPTIONS] COMMAND [ARGUMENTS]"
    yield ".SH DESCRIPTION"
    yield from paragraphs(cli.help or "")
    yield ".SH OPTIONS"
    yield from options(cli, context)
    yield ".SH COMMANDS"
    for each, name in below(cli, context):
        yield from describe(each, name, context)
    yield ".SH EXIT STATUS"
    yield from table(_STATUS)
    yield ".SH FILES"
    yield from table(_FILES)
    yield ".SH SEE ALSO"
    yield "The pages of \\fBedge\\-agent help\\fR, \\fBsystemctl\\fR(1), \\fBapptainer\\fR(1)"


def below(group: click.Group, context: click.Context) -> Iterator[tuple[click.Command, str]]:
    """Yield the commands of a group, and their names."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None:
            yield command, name


def describe(command: click.Command, name: str, parent: click.Context) -> Iterator[str]:
    """Yield one command, and those below it."""
    context = click.Context(command, info_name=name, parent=parent)
    usage = " ".join(command.collect_usage_pieces(context))
    yield f".SS {escape(context.command_path)} {escape(usage)}"
    yield from paragraphs(command.help or "")
    yield from options(command, context)
    if isinstance(command, click.Group):
        for each, of_each in below(command, context):
            yield from describe(each, of_each, context)


def options(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield the options of a command."""
    records = [each.get_help_record(context) for each in command.get_params(context)]
    yield from table([record for record in records if record is not None])


def table(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield terms with what they mean."""
    for term, meaning in rows:
        yield ".TP"
        yield f"\\fB{escape(term)}\\fR"
        yield escape(meaning)


def paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of a help text; those marked by \\b keep their lines."""
    for part in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in part.splitlines()]
        yield ".PP"
        if lines[:1] == ["\b"]:
            yield ".nf"
            yield from map(escape, lines[1:])
            yield ".fi"
        else:
            yield escape(" ".join(lines))


if __name__ == "__main__":
    time = datetime.fromtimestamp(int(sys.argv[2]), timezone.utc)
    print("\n".join(page(sys.argv[1], time.strftime("%Y-%m-%d"))))
