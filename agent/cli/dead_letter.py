"""`edge-agent dead-letter`: messages that nobody could run, looked at, put on their queue again, or dropped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import click

from agent import wire
from agent.cli.context import config_from
from agent.cli.decode import reading_in
from agent.cli.output import print_json, print_table
from agent.cli.submit import user
from agent.config import Config, Queue
from agent.deadletters import drop, requeue
from agent.errors import HostFault, InvalidInput, JobError, NotFound
from agent.message_text import message_text
from agent.model.job import Job
from agent.model.units import show_duration, show_size
from agent.ports import Letter, LetterBox
from agent.redact import mask_data, mask_text
from agent.results import Results
from agent.wiring import Stores

COLUMNS = ("letter", "queue", "host", "since", "size", "why")
_QUEUE = click.option("--queue", metavar="NAME", help="Only this queue.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_ALL = click.option("--all", "everything", is_flag=True, help="All of them.")
_REASON = click.option("--reason", metavar="TEXT", help="All whose reason has this text in it.")


class _Box(NamedTuple):
    """The dead letters of one queue, and what it takes to act on them."""

    queue: Queue
    letters: LetterBox
    results: Results


@click.group("dead-letter")
def dead_letter() -> None:
    """List, show, requeue or drop messages that nobody could run."""


@dead_letter.command("list")
@_QUEUE
@_REASON
@_JSON
@click.pass_context
def list_(ctx: click.Context, queue: str | None, reason: str | None, as_json: bool) -> None:
    """List the dead letters, with the reason, who found it, and when. They stay where they are."""
    with _boxes(config_from(ctx).config, queue) as boxes:
        found = [_summary(letter) for box in boxes for letter in box.letters.letters() if _has(letter, reason)]
    now = time.time()
    if as_json:
        print_json(found)
    else:
        print_table("", COLUMNS, [_row(each, now) for each in found])


@dead_letter.command()
@click.argument("letter")
@_QUEUE
@_JSON
@click.pass_context
def show(ctx: click.Context, letter: str, queue: str | None, as_json: bool) -> None:
    """Show the dead letter LETTER: its message as text, or in hexadecimal where it is none. Secrets are masked."""
    config = config_from(ctx).config
    with _boxes(config, queue) as boxes:
        found, box = _find(boxes, letter)
        problem = _read(config, box.queue, found).problem
    body = None if found.body is None else message_text(found.body)
    attributes = mask_data(dict(found.attributes))
    shown = {
        **_summary(found),
        "attributes": attributes,
        "unreadable": problem,
        **(body or {"form": None, "body": None}),
    }
    print_json(shown) if as_json else _show(shown)


@dead_letter.command("requeue")
@click.argument("letters", nargs=-1)
@_QUEUE
@_ALL
@_REASON
@click.option("--as-is", is_flag=True, help="Also messages that this host cannot read.")
@_JSON
@click.pass_context
def requeue_(
    ctx: click.Context,
    letters: tuple[str, ...],
    queue: str | None,
    everything: bool,
    reason: str | None,
    as_is: bool,
    as_json: bool,
) -> None:
    """Put LETTERS on their queues again, each under a new submission id, once what made them dead letters is mended.

    Exit code 1 when one of them cannot be put back.
    """
    config = config_from(ctx).config

    def again(letter: Letter, box: _Box) -> str:
        message = _read(config, box.queue, letter)
        if message.problem is not None and not as_is:
            hint = "mend the host, or requeue it with --as-is"
            raise InvalidInput(f"dead letter {letter.sid} cannot be read: {message.problem}", hint=hint)
        return requeue(letter, message.job, box.letters, box.results, time.time(), user())

    _each(ctx, _choice(letters, everything, reason), queue, again, "requeued as {}", as_json)


@dead_letter.command("drop")
@click.argument("letters", nargs=-1)
@_QUEUE
@_ALL
@_REASON
@_JSON
@click.pass_context
def drop_(
    ctx: click.Context, letters: tuple[str, ...], queue: str | None, everything: bool, reason: str | None, as_json: bool
) -> None:
    """Remove LETTERS for good; their jobs stay in the list as dead and dropped."""

    def away(letter: Letter, box: _Box) -> str:
        drop(letter, box.letters, box.results)
        return letter.sid

    _each(ctx, _choice(letters, everything, reason), queue, away, "dropped", as_json)


# --- which -----------------------------------------------------------------------------------------------------------


class _Choice(NamedTuple):
    """Which letters are meant: these, or all that have the text in their reason."""

    sids: tuple[str, ...]
    reason: str | None

    def has(self, letter: Letter) -> bool:
        return letter.sid in self.sids if self.sids else _has(letter, self.reason)


def _choice(sids: tuple[str, ...], everything: bool, reason: str | None) -> _Choice:
    if bool(sids) + everything + (reason is not None) != 1:
        given = ", ".join([*sids, *(["--all"] if everything else []), *(["--reason"] if reason is not None else [])])
        raise InvalidInput(
            f"which dead letters? Given: {given or 'nothing'}", hint="name them, or --all, or --reason TEXT"
        )
    return _Choice(sids, reason)


def _has(letter: Letter, reason: str | None) -> bool:
    return reason is None or reason in letter.reason


@contextmanager
def _boxes(config: Config, name: str | None) -> Iterator[list[_Box]]:
    """Open the dead letters of all queues, or of the one called `name`; what was held of them is let go at the end."""
    queues = config.queues if name is None else (config.queue(name),)
    stores = Stores(config)
    boxes = [_Box(queue, stores.letter_box(queue), stores.results(queue)) for queue in queues]
    try:
        yield boxes
    finally:
        for box in boxes:
            box.letters.close()


def _find(boxes: list[_Box], sid: str) -> tuple[Letter, _Box]:
    for box in boxes:
        for letter in box.letters.letters():
            if letter.sid == sid:
                return letter, box
    raise NotFound(f'no dead letter "{sid}"; `edge-agent dead-letter list` lists them')


# --- what is done ----------------------------------------------------------------------------------------------------


class _Message(NamedTuple):
    """What a letter's message is: the native job, if it is one; why this host cannot read it."""

    job: Job | None
    problem: str | None


def _read(config: Config, queue: Queue, letter: Letter) -> _Message:
    if letter.body is None:
        return _Message(None, None)
    try:
        reading, _ = reading_in(config, queue.name)
        decoded = wire.decode(letter.body, letter.attributes, letter.at, reading)
    except (JobError, HostFault) as error:
        return _Message(None, mask_text(str(error)))
    return _Message(decoded.job if decoded.cargo.form == "native" else None, None)


def _each(
    ctx: click.Context,
    choice: _Choice,
    queue: str | None,
    act: Callable[[Letter, _Box], str],
    told: str,
    as_json: bool,
) -> None:
    """Act on each letter that is meant and tell of it; exit code 1 when one failed or is not there."""
    done: list[dict[str, Any]] = []
    with _boxes(config_from(ctx).config, queue) as boxes:
        for box in boxes:
            for letter in filter(choice.has, box.letters.letters()):
                done.append(_acted(letter, box, act))
                if not as_json:
                    _tell(done[-1], told)
    there = {each["letter"] for each in done}
    missing = [sid for sid in choice.sids if sid not in there]
    if as_json:
        print_json({"done": done, "missing": missing})
    for sid in missing:
        click.echo(f'edge-agent: no dead letter "{sid}"; `edge-agent dead-letter list` lists them', err=True)
    ctx.exit(1 if missing or any(each["error"] for each in done) else 0)


def _acted(letter: Letter, box: _Box, act: Callable[[Letter, _Box], str]) -> dict[str, Any]:
    row = {"letter": letter.sid, "queue": box.queue.name, "job": None, "error": None}
    try:
        return {**row, "job": act(letter, box)}
    except InvalidInput as error:
        return {**row, "error": str(error)}


def _tell(row: dict[str, Any], told: str) -> None:
    if row["error"]:
        click.echo(f"edge-agent: {_line(row['error'])}", err=True)
    else:
        click.echo(f"{_line(row['letter'])} {told.format(row['job'])}")


def _line(text: str) -> str:
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in mask_text(text))


# --- how it is shown -------------------------------------------------------------------------------------------------


def _summary(letter: Letter) -> dict[str, Any]:
    return {
        "letter": letter.sid,
        "queue": letter.queue,
        "host": letter.host,
        "at": letter.at,
        "size": None if letter.body is None else len(letter.body),
        "reason": mask_text(letter.reason),
    }


def _row(found: dict[str, Any], now: float) -> tuple[object, ...]:
    since = f"{show_duration(max(0.0, now - found['at']))} ago"
    size = "not kept" if found["size"] is None else show_size(found["size"])
    return (found["letter"], found["queue"], found["host"], since, size, found["reason"])


def _show(shown: dict[str, Any]) -> None:
    print_table("", COLUMNS, [_row(shown, time.time())])
    for name, value in shown["attributes"].items():
        click.echo(f"{_line(name)}: {_line(value)}")
    if shown["unreadable"]:
        click.echo(f"cannot be read: {_line(shown['unreadable'])}")
    if shown["body"] is not None:
        click.echo(shown["body"])
