"""Pausing, draining and resuming hosts through the results store."""

from __future__ import annotations

from collections.abc import Sequence

import click
import msgspec

from agent.cli.output import because, print_json
from agent.cli.waiting import Deadline
from agent.config import Config, Queue
from agent.errors import InvalidInput, NotFound, StoreUnavailable
from agent.model.hosts import Wish
from agent.model.units import show_duration
from agent.operating import Answer, Asked, Operator
from agent.wiring import Stores

LOOK = 2.0  # seconds between two looks at hosts that are waited for
FRESH = 900.0  # seconds after which the note of a living host has been written anew


def do_elsewhere(
    config: Config, hosts: Sequence[str], queue: str | None, wish: Wish, deadline: Deadline | None, as_json: bool
) -> bool:
    """Want something of hosts, of all when none is named; say how they stand to it, and whether all is done.

    With a deadline that is when no job is there any more; else when the wishes are in the store.
    """
    operator = operator_of(config, queue)
    asked = [operator.ask(host, wish) for host in hosts or _everybody(operator)]
    answers = [operator.look(each) for each in asked]
    if deadline is not None:
        answers = _wait(operator, asked, answers, deadline)
    if as_json:
        print_json({"hosts": [_table(answer) for answer in answers]})
    else:
        for answer in answers:
            click.echo(describe(answer))
    return deadline is None or all(answer.is_drained for answer in answers)


def operator_of(config: Config, queue: str | None) -> Operator:
    """Return the operator of the hosts of a queue, or of all. Raises InvalidInput when no store reaches any."""
    queues = shared_queues(config, queue)
    stores = Stores(config)
    return Operator(stores.hosts(queues), stores.host_bell())


def shared_queues(config: Config, name: str | None) -> list[Queue]:
    """Return the queues whose results stores other hosts reach. Raises InvalidInput when there is none."""
    queues = config.queues if name is None else (config.queue(name),)
    shared = [queue for queue in queues if config.alone(queue) is None]
    if not shared:
        raise InvalidInput(
            f"{'; '.join(filter(None, map(config.alone, queues)))}: wishes for other hosts lie in a results store",
            hint="set queues.results to one that this machine and the hosts reach",
        )
    return shared


def _everybody(operator: Operator) -> tuple[str, ...]:
    hosts = operator.hosts()
    if not hosts:
        raise NotFound("no host has used the results store yet")
    return hosts


def _wait(operator: Operator, asked: list[Asked], answers: list[Answer], deadline: Deadline) -> list[Answer]:
    """Look again until all are drained or one can never be, or the deadline has come."""
    told: dict[str, Answer] = {}
    while True:
        for answer in answers:
            seen = msgspec.structs.replace(answer, age=None)
            if not answer.is_drained and told.get(answer.asked.host) != seen:
                told[answer.asked.host] = seen
                click.echo(describe(answer), err=True)
        if all(each.is_drained or _is_overruled(each) for each in answers) or not deadline.pause(LOOK):
            return answers
        answers = [_look(operator, each, before) for each, before in zip(asked, answers, strict=True)]


def _look(operator: Operator, asked: Asked, before: Answer) -> Answer:
    """A store that is away for a moment does not end a wait of hours."""
    try:
        return operator.look(asked)
    except StoreUnavailable as error:
        click.echo(f"{asked.host}  not seen: {error}", err=True)
        return before


def _is_overruled(answer: Answer) -> bool:
    return answer.overruled and answer.state not in ("paused", "draining", "offline")


def describe(answer: Answer) -> str:
    """Return a line about one host."""
    asked = answer.asked
    if answer.is_drained:
        return f"{asked.host}  {answer.state}{because(answer.reason, answer.by)}; no jobs there"
    state = "unknown" if answer.state is None else f"{answer.state}{because(answer.reason, answer.by)}"
    if _is_overruled(answer):
        return f"{asked.host}  {state}: a newer wish than number {asked.n} counts"
    if answer.has_seen:
        return f"{asked.host}  {state}" + ("" if answer.jobs is None else f"; {len(answer.jobs)} job(s) there")
    silent = answer.age is not None and answer.age > FRESH
    heard = f", silent for {show_duration(answer.age)}" if silent else ""
    return f"{asked.host}  {asked.wish.want} is wanted (number {asked.n}); it is {state}{heard}"


def _table(answer: Answer) -> dict[str, object]:
    return {
        "host": answer.asked.host,
        "wanted": answer.asked.wish.want,
        "number": answer.asked.n,
        "seen": answer.has_seen,
        "state": answer.state,
        "reason": answer.reason,
        "by": answer.by,
        "jobs": answer.jobs,
        "told_ago": answer.age,
        "drained": answer.is_drained,
    }
