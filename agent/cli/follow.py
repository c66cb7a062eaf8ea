"""Following one job to its end: what it prints as it comes where its agent runs here, else when it is saved."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import click

from agent.client import POLL, Client, JobView
from agent.config import Config
from agent.control.client import log_parts
from agent.control.protocol import Log
from agent.errors import AgentUnreachable, NotFound


def follow(config: Config, client: Client, sid: str, *, show_log: bool) -> JobView:
    """Return the job when it is over; changes of its state go to standard error, its log to standard output."""
    told, written = "", 0
    while True:
        view = client.find(sid)
        line = describe(view)
        if line != told:
            click.echo(f"{sid}  {line}", err=True)
            told = line
        if view.is_over:
            break
        if show_log and view.state == "started":
            written = _copy(live_log(config, sid, written, follow=True), written)
        threading.Event().wait(POLL)
    if show_log and any(artifact.name == "log" for artifact in view.artifacts):
        _copy(client.log(sid, written), written)
    return view


def describe(view: JobView) -> str:
    """Return the state of a job as a short line."""
    where = f" on {view.host}" if view.host else ""
    why = f": {view.reason}" if view.reason else ""
    return view.state + where + why


def live_log(config: Config, sid: str, offset: int, *, follow: bool) -> Iterator[bytes]:
    """Yield the log of a job that runs under this host's agent; nothing when it does not."""
    try:
        for part in log_parts(config.state_dir, Log(sid, offset, follow)):
            yield part.data
    except (AgentUnreachable, NotFound):
        return


def _copy(pieces: Iterator[bytes], written: int) -> int:
    for piece in pieces:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        written += len(piece)
    return written
