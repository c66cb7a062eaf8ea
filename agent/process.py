"""Short helper commands, such as `apptainer --version`, and the servers of a lab. Jobs are started in supervisor/."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from agent.errors import Unavailable
from agent.supervisor.processes import Identity, alive, identify, send_signal

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
