"""Following one job to its end: what it prints as it comes, by its agent here or by the results store."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator

import click
import msgspec

from agent.cli.who import who
from agent.client import POLL, Client, JobView
from agent.config import Config
from agent.control.client import log_parts
from agent.control.protocol import Log
from agent.errors import AgentUnreachable, BrokerUnavailable, NotFound, StoreUnavailable
from agent.following import Follower


def follow(config: Config, client: Client, sid: str, *, show_log: bool) -> JobView:
    """Return the job when it is over; changes of its state go to standard error, its log to standard output.

    A store that is away for a while is waited for, once the job was seen.
    """
    told = ""
    # The step is for people who look on; in a pipe it would be noise.
    with_step = sys.stderr.isatty()
    follower = Follower(client.live, sid, who(), lambda host: _wake(config, host), with_step=with_step)
    view = client.find(sid)
    while True:
        line = describe(view, follower.step)
        if line != told:
            click.echo(f"{sid}  {line}", err=True)
            told = line
        if view.is_over:
            break
        if show_log and view.state in ("claimed", "started"):
            _turn(config, follower, view)
        threading.Event().wait(POLL)
        view = _find(client, view)
    if show_log and any(artifact.name == "log" for artifact in view.artifacts):
        _begin(follower, view)
        for piece in client.log(sid, follower.offset):
            _write(piece)
    return view


def describe(view: JobView, step: str | None = None) -> str:
    """Return the state of a job as a short line. step: what its attempt is at."""
    where = f" on {view.host}" if view.host else ""
    what = f" ({step})" if step and not view.is_over else ""
    why = f": {view.reason}" if view.reason else ""
    return view.state + where + what + why


def live_log(config: Config, sid: str, offset: int, *, follow: bool) -> Iterator[bytes]:
    """Yield the log of a job that runs under this host's agent; nothing when it does not."""
    try:
        for part in log_parts(config.state_dir, Log(sid, offset, follow)):
            yield part.data
    except (AgentUnreachable, NotFound):
        return


def _find(client: Client, before: JobView) -> JobView:
    try:
        return client.find(before.sid)
    except StoreUnavailable as error:
        return msgspec.structs.replace(before, reason=f"not seen now: {error}")


def _turn(config: Config, follower: Follower, view: JobView) -> None:
    """Take what is new of the running attempt: from the agent here, else from the store."""
    _begin(follower, view)
    is_here = False
    for piece in live_log(config, view.sid, follower.offset, follow=True):
        is_here = True
        follower.offset += _write(piece)
    if is_here:
        return
    for said in follower.turn(view.n or 0, view.host, time.monotonic()):
        if said.remark:
            click.echo(f"{view.sid}  {said.remark}", err=True)
        _write(said.data)


def _begin(follower: Follower, view: JobView) -> None:
    remark = follower.begin(view.n or 0)
    if remark is not None:
        click.echo(f"{view.sid}  {remark}", err=True)


def _wake(config: Config, host: str) -> None:
    """Ring the bell of the host; without one it looks within half a minute."""
    from agent.wiring import Stores

    bell = Stores(config).host_bell()
    if bell is not None:
        try:
            bell.ring(host)
        except BrokerUnavailable as error:
            click.echo(f"the bell of {host} could not be rung: {error}", err=True)


def _write(piece: bytes) -> int:
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
    return len(piece)
