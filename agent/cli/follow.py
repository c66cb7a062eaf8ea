"""Following one job to its end: what it prints as it comes, by its agent here, a broker or the results store."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import click
import msgspec

from agent.cli.progress import ProgressLine, progress_text
from agent.cli.who import who
from agent.client import Client, JobView
from agent.config import Config
from agent.control.client import ask, log_parts
from agent.control.protocol import Log, Status
from agent.errors import AgentUnreachable, BrokerUnavailable, NotFound, StoreUnavailable
from agent.following import RARELY, Follower
from agent.looking import Pace
from agent.model.live import Progress

TICK = 0.5  # seconds between two turns; a turn alone asks no server


def follow(config: Config, client: Client, sid: str, *, show_log: bool) -> JobView:
    """Return the job when it is over; changes of its state go to standard error, its log to standard output.

    A store that is away for a while is waited for, once the job was seen.
    """
    from agent.wiring import Stores

    feed = Stores(config).log_feed(sid) if show_log else None
    line = ProgressLine()
    # The step is for people who look on; in a pipe it would be noise.
    follower = Follower(client.live, sid, who(), lambda host: _wake(config, host), with_step=line.is_on, feed=feed)
    try:
        return _Following(config, client, follower, line, sid).run(show_log)
    finally:
        line.clear()
        if feed is not None:
            feed.close()


def describe(view: JobView) -> str:
    """Return the state of a job as a short line."""
    where = f" on {view.host}" if view.host else ""
    why = f": {view.reason}" if view.reason else ""
    return view.state + where + why


def live_log(config: Config, sid: str, offset: int) -> Iterator[bytes]:
    """Yield what a job has printed that runs under this host's agent.

    Raises NotFound when it does not, AgentUnreachable when there is no agent.
    """
    for part in log_parts(config.state_dir, Log(sid, offset)):
        yield part.data


class _Following:
    """One job on its way to the end."""

    def __init__(self, config: Config, client: Client, follower: Follower, line: ProgressLine, sid: str) -> None:
        self._config = config
        self._client = client
        self._follower = follower
        self._line = line
        self._sid = sid
        self._looker = client.looker(sid)
        self._pace = Pace()
        self._told = ""
        self._is_here = False

    def run(self, show_log: bool) -> JobView:
        view = self._looker.look()
        self._pace.looked(time.monotonic(), changed=True)
        while True:
            self._say_state(view)
            if view.is_over:
                break
            if show_log:
                self._turn(view)
            self._line.show(progress_text(view, self._progress(view), time.time()))
            self._follower.wait(TICK)
            view = self._look(view)
        if show_log and any(artifact.name == "log" for artifact in view.artifacts):
            self._say(self._follower.begin(view.n or 0))
            for piece in self._client.log(self._sid, self._follower.offset):
                self._write(piece)
        return view

    def _say_state(self, view: JobView) -> None:
        if describe(view) != self._told:
            self._told = describe(view)
            self._say(self._told)

    def _look(self, before: JobView) -> JobView:
        """Look at the stores when it is time to, or when the host has told that they have news."""
        now, follower = time.monotonic(), self._follower
        if not follower.has_news and not self._pace.is_due(now, RARELY if follower.hears(now) else 0.0):
            return before
        follower.has_news = False
        try:
            view = self._looker.look()
        except StoreUnavailable as error:
            view = msgspec.structs.replace(before, reason=f"not seen now: {error}")
        self._pace.looked(now, changed=view is not before)
        return view

    def _turn(self, view: JobView) -> None:
        """Take what is new of the running attempt: from the agent here, else from elsewhere."""
        now, follower = time.monotonic(), self._follower
        if view.state == "waiting":
            self._say(follower.expect(now))
            return
        self._say(follower.begin(view.n or 0))
        # Of the step the agent here tells less than it tells to followers elsewhere.
        if (view.state == "started" or not self._line.is_on) and self._take_here():
            return
        for said in follower.turn(view.n or 0, view.host, now):
            self._say(said.remark)
            self._write(said.data)

    def _take_here(self) -> bool:
        was_here, self._is_here = self._is_here, True
        try:
            for data in live_log(self._config, self._sid, self._follower.offset):
                self._write(data)
                self._follower.offset += len(data)
        except (AgentUnreachable, NotFound):
            self._is_here = False
            # It has just left the agent: the records know where to.
            self._follower.has_news = self._follower.has_news or was_here
        return self._is_here

    def _progress(self, view: JobView) -> Progress | None:
        if not self._is_here or not self._line.is_on:
            return self._follower.progress(time.monotonic())
        try:
            attempts = ask(self._config.state_dir, Status()).attempts
        except AgentUnreachable:
            return None
        found = next((each for each in attempts if (each.sid, each.n) == (view.sid, view.n)), None)
        if found is None:
            return None
        now, began = time.time(), found.started_at
        return Progress(found.step, now, max(0.0, now - began) if began and found.ended_at is None else 0.0)

    def _say(self, text: str | None) -> None:
        if text:
            self._line.clear()
            click.echo(f"{self._sid}  {text}", err=True)

    def _write(self, data: bytes) -> None:
        if data:
            self._line.clear()
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            self._line.printed(data)


def _wake(config: Config, host: str) -> None:
    """Ring the bell of the host; without one it looks within half a minute."""
    from agent.wiring import Stores

    bell = Stores(config).host_bell()
    if bell is not None:
        try:
            bell.ring(host)
        except BrokerUnavailable as error:
            click.echo(f"the bell of {host} could not be rung: {error}", err=True)
