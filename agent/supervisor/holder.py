"""The holder: `main() STATE_DIR [--idle-exit SECONDS] [--detach]`, one per state directory.

It forks a waiter per attempt and ends what a killed waiter left. Everything it will ever need is imported at
start, since an upgrade replaces its files while it runs.
"""

from __future__ import annotations

import os
import select
import signal
import sys

from agent.supervisor import files, processes, protocol
from agent.supervisor.jobs import Jobs
from agent.supervisor.notify import READY as SERVES
from agent.supervisor.notify import notify
from agent.supervisor.server import Connection
from agent.supervisor.waiter import READY, boottime
from agent.supervisor.wakeup import Wakeup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


MAX_CONNECTIONS = 64
USAGE = "usage: holder STATE_DIR [--idle-exit SECONDS] [--detach]"


class Holder:
    """The loop: one poll() over the socket, its clients, signals and starting waiters."""

    def __init__(self, state_dir: str, idle_exit_s: float | None) -> None:
        self._jobs = Jobs(state_dir)
        self._listener = protocol.listen(state_dir)
        self._wakeup: Wakeup | None = None
        self._connections: list[Connection] = []
        self._starting: dict[int, Connection] = {}
        self._idle_exit_s = idle_exit_s
        self._busy_at = boottime()
        self._ending = False

    def run(self) -> None:
        processes.become_subreaper()
        self._wakeup = Wakeup((signal.SIGTERM, signal.SIGINT, signal.SIGCHLD))
        self._jobs.adopt()
        while not self._finished():
            self._turn(self._wakeup)

    def _finished(self) -> bool:
        if self._jobs or (self._connections and not self._ending):
            self._busy_at = boottime()
        elif self._ending:
            return True
        return self._idle_exit_s is not None and boottime() - self._busy_at >= self._idle_exit_s

    def _turn(self, wakeup: Wakeup) -> None:
        poll = self._watched(wakeup)
        happened = dict(poll.poll(self._sleep_ms()))
        if wakeup.fd in happened and wakeup.take() & {signal.SIGTERM, signal.SIGINT}:
            self._end("shutdown")
        for fd in [fd for fd in self._starting if fd in happened]:
            self._answer_start(fd)
        self._jobs.collect()
        self._jobs.look()
        self._serve(happened)
        if self._listener.fileno() in happened:
            self._accept()

    def _watched(self, wakeup: Wakeup) -> select.poll:
        poll = select.poll()
        for fd in (wakeup.fd, self._listener.fileno(), *self._starting, *self._jobs.pidfds):
            poll.register(fd, select.POLLIN)
        for connection in self._connections:
            poll.register(connection.fd, connection.events)
        return poll

    def _sleep_ms(self) -> float | None:
        due = [self._jobs.next_look_s()]
        if self._idle_exit_s is not None and not self._jobs and not self._connections:
            due.append(max(0.0, self._busy_at + self._idle_exit_s - boottime()) + 0.001)
        waits = [seconds for seconds in due if seconds is not None]
        return min(waits) * 1000 if waits else None

    # Clients.

    def _accept(self) -> None:
        """Take one client a turn, so that those who are here are served between."""
        try:
            stream, _ = self._listener.accept()
        except OSError:
            return
        if len(self._connections) >= MAX_CONNECTIONS:
            self._connections.pop(0).close()  # the longest one here: a client makes one for a call and closes it
        self._connections.append(Connection(stream))

    def _serve(self, happened: dict[int, int]) -> None:
        for connection in self._connections:
            if connection.fd in happened:
                connection.receive(happened[connection.fd])
            self._answer_all(connection)
        self._connections = [connection for connection in self._connections if not connection.closed]

    def _answer_all(self, connection: Connection) -> None:
        line = connection.next_line()
        while line is not None:
            self._answer(connection, line)
            line = connection.next_line()

    def _answer(self, connection: Connection, line: bytes) -> None:
        try:
            answer = self._handle(connection, protocol.decode(line))
        except (protocol.BadRequest, OSError) as error:
            answer = {"ok": False, "error": str(error)}
        if answer is None:
            connection.awaited = True
        else:
            connection.send(answer)

    def _handle(self, connection: Connection, request: dict[str, Any]) -> dict[str, Any] | None:
        """The answer, or None when it comes later. Raises BadRequest or OSError."""
        op = request.get("op")
        if op == "start":
            return self._start(connection, request)
        if op == "list":
            return {
                "ok": True,
                "waiters": [{"attempt": job.attempt, **job.waiter._asdict()} for job in self._jobs.alive],
            }
        if op == "ping":
            return {
                "ok": True,
                "version": protocol.VERSION,
                "pid": os.getpid(),
                "waiters": len(self._jobs.alive),
            }
        if op == "end":
            self._end(_reason(request))
            return {"ok": True, "stopping": len(self._jobs)}
        raise protocol.BadRequest(f"op is {op!r}; known are start, list, ping, end")

    def _start(self, connection: Connection, request: dict[str, Any]) -> dict[str, Any] | None:
        if self._ending:
            raise protocol.BadRequest("the holder is ending and starts nothing more")
        ready = self._jobs.start(protocol.parse_spec(request.get("spec")))
        if ready is None:
            return {"ok": True, "started": False}
        self._starting[ready] = connection
        return None

    def _answer_start(self, fd: int) -> None:
        """The waiter recorded its run, or says why it could not."""
        said = os.read(fd, 65536)
        os.close(fd)
        connection = self._starting.pop(fd)
        if said == READY:
            connection.send({"ok": True, "started": True})
        else:
            error = said.decode("utf-8", "replace") or "the waiter died before it could start the job"
            connection.send({"ok": False, "error": error})

    def _end(self, why: str) -> None:
        if not self._ending:
            self._ending = True
            self._jobs.stop_all(why)


def _reason(request: dict[str, Any]) -> str:
    why = request.get("why", "shutdown")
    if not protocol.valid_identifier(why):
        raise protocol.BadRequest(f"why is {why!r}, not a short word such as shutdown")
    return str(why)


class Usage(Exception):
    """The command line is wrong; the text says how."""


def parse_arguments(arguments: Sequence[str]) -> tuple[str, float | None, bool]:
    """State directory, seconds until an idle exit (None: never), and whether to go to the background."""
    rest = list(arguments)
    detach = "--detach" in rest
    if detach:
        rest.remove("--detach")
    if len(rest) == 1 and not rest[0].startswith("-"):
        return os.path.abspath(rest[0]), None, detach
    if len(rest) == 3 and rest[1] == "--idle-exit" and rest[2].isdigit():
        return os.path.abspath(rest[0]), float(rest[2]), detach
    raise Usage(f"{USAGE}, not {' '.join(arguments)!r}")


def main() -> None:
    """Exit status: 0 after the end or when another holder serves, 2 for wrong use, 3 for a bad directory."""
    try:
        state_dir, idle_exit_s, detach = parse_arguments(sys.argv[1:])
        status = serve(state_dir, idle_exit_s, detach)
    except Usage as error:
        print(error, file=sys.stderr)
        status = 2
    except OSError as error:
        print(f"the holder cannot serve: {error}", file=sys.stderr)
        status = 3
    sys.exit(status)


def serve(state_dir: str, idle_exit_s: float | None, detach: bool) -> int:
    """Serve `state_dir` until the end; with `detach` in a process of its own, once the socket is there."""
    if files.try_lock(os.path.join(state_dir, protocol.HOLDER_LOCK)) is None:
        print(f"another holder serves {state_dir}", file=sys.stderr)
        return 0
    holder = Holder(state_dir, idle_exit_s)
    if detach and os.fork() != 0:
        os._exit(0)
    processes.set_name("edge-holder")
    notify(SERVES)  # to systemd, where it is a service of its own
    holder.run()
    return 0
