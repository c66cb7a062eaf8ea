"""Short helper commands, such as `apptainer --version`, and the servers of a lab. Jobs are started in supervisor/."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from agent.errors import Unavailable
from agent.supervisor.processes import Identity, alive, identify, send_signal

_MOST_LINES = 64  # of a reporter that nobody reads
_LAST_WORDS = 1.0  # seconds that the pipes of a killed command get to end


class Completed(msgspec.Struct, frozen=True):
    """How a command ended: its exit status (negative: the signal that ended it) and what it printed."""

    status: int
    out: str
    err: str


def run(
    argv: Sequence[str], timeout: float, env: Mapping[str, str] | None = None, stdin: bytes | None = None
) -> Completed:
    """Run `argv` without a shell, in a session of its own, and wait for its end.

    `env` replaces the environment, None hands on the agent's. Raises Unavailable when the program cannot be
    started, and when it is not done after `timeout` seconds: then it is killed with its process group.
    """
    try:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if env is None else dict(env),
            start_new_session=True,
        )
    except OSError as error:
        raise Unavailable(f"{argv[0]} cannot be started: {error.strerror}") from None
    out, err = _finish(child, timeout, stdin)
    return Completed(child.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


def _finish(child: subprocess.Popen[bytes], timeout: float, stdin: bytes | None) -> tuple[bytes, bytes]:
    try:
        return child.communicate(stdin, timeout)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{_name(child.args)} was not done after {timeout:g} s and was killed") from None
    finally:
        if child.returncode is None:
            _kill(child)


def _kill(child: subprocess.Popen[bytes]) -> None:
    os.killpg(child.pid, signal.SIGKILL)
    try:
        child.communicate(timeout=_LAST_WORDS)
    except subprocess.TimeoutExpired:
        # A grandchild that left the group keeps the pipes open, or a driver holds the child in the kernel, where no
        # signal reaches it. Nobody reads and nobody waits any more.
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
        if child.poll() is None:
            child.returncode = -signal.SIGKILL


def _name(args: object) -> str:
    return str(args[0]) if isinstance(args, list) else str(args)


class Reporter:
    """A child that prints lines until it is ended. It is to end by itself when its standard input is closed."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Raises Unavailable when it cannot be started."""
        try:
            self._child = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=dict(env),
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(f"{argv[0]} cannot be started: {error.strerror}") from None
        self._lines: deque[bytes] = deque(maxlen=_MOST_LINES)
        self._reader = threading.Thread(target=self._read, name="reporter", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        # Closed here and nowhere else: a close waits for a read, and a driver can hold the child for ever.
        with self._child.stdout or io.BytesIO() as lines:
            for line in lines:
                self._lines.append(line)

    @property
    def has_ended(self) -> bool:
        """True when no more lines will come."""
        return not self._reader.is_alive()

    def take(self) -> list[bytes]:
        """Return the lines since the last call, the newest of them if they are many."""
        return [self._lines.popleft() for _ in range(len(self._lines))]

    def end(self) -> None:
        """Kill it with its process group."""
        if self._child.poll() is None:
            os.killpg(self._child.pid, signal.SIGKILL)
        if self._child.stdin is not None:
            self._child.stdin.close()
        try:
            self._child.wait(_LAST_WORDS)
        except subprocess.TimeoutExpired:
            self._child.returncode = -signal.SIGKILL  # a driver holds it in the kernel: nobody waits any more


class Daemon(msgspec.Struct, frozen=True):
    """A server that was started and left alone. starttime (clock ticks since boot) tells it from a later process."""

    pid: int
    starttime: int

    def is_alive(self) -> bool:
        """Say whether it still runs."""
        return alive(Identity(self.pid, self.starttime))

    def stop(self, grace: float = 10.0) -> None:
        """End it: TERM, and KILL when it still runs after `grace` seconds."""
        send_signal(Identity(self.pid, self.starttime), signal.SIGTERM)
        deadline = time.monotonic() + grace
        while self.is_alive() and time.monotonic() < deadline:
            threading.Event().wait(0.02)
        send_signal(Identity(self.pid, self.starttime), signal.SIGKILL)


def start_daemon(argv: Sequence[str], log: Path, env: Mapping[str, str]) -> Daemon:
    """Start a server in a session of its own that goes on when this process ends; its output is added to `log`.

    Raises Unavailable when it cannot be started.
    """
    try:
        with log.open("ab") as output:
            child = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd="/",
                start_new_session=True,
            )
    except OSError as error:
        raise Unavailable(f"{argv[0]} cannot be started: {error.strerror}") from None
    identity = identify(child.pid)
    child.returncode = 0  # nobody waits for it: keeps the interpreter from warning that it still runs
    return Daemon(identity.pid, identity.starttime)
