"""What tests of the supervisor share: a state directory with its client, specs, looks at real processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import agent
from agent.supervisor import processes, protocol
from agent.supervisor.client import Exit, Exited, HolderClient, HolderUnavailable
from agent.supervisor.records import Run, read_run

from tests.waiting import wait_until

CGROUP_MOUNTS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))  # of v2: hybrid hosts, others
PACKAGE_ROOT = str(Path(agent.__file__).parents[1])
LONG = "86400"  # for a sleep that only a kill ends
MIB = 1024**2
# Burns about half a second of CPU time, and prints what the shell and its children used: "0m0.52s 0m0.01s".
BURN = "i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done; times"
# Holds 60 MiB for some seconds, in each of two processes.
HOG = "(head -c 60M /dev/zero; sleep 2.5) | dd bs=60M iflag=fullblock of=/dev/null"
HOGS = f"{HOG} & {HOG}; wait"


class Supervision:
    """One state directory below `folder`; `close` ends everything that was started in it."""

    def __init__(
        self,
        folder: Path,
        python: str = sys.executable,
        root: str = PACKAGE_ROOT,
        idle_exit_s: int | None = None,
        **client: Any,
    ) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.attempts = self.state / protocol.ATTEMPTS
        self.attempts.mkdir(parents=True)
        self.python, self.root = python, root
        self.client = HolderClient(self.state, python=python, root=root, idle_exit_s=idle_exit_s, **client)

    def spec(self, attempt: str, *argv: str, **changes: Any) -> dict[str, Any]:
        """A spec that runs `argv`, with the attempt's directory made."""
        directory = self.attempts / attempt
        directory.mkdir(exist_ok=True)
        shutil.chown(directory, self.state.stat().st_uid, self.state.stat().st_gid)
        plain = {
            "version": 1,
            "attempt": attempt,
            "directory": str(directory),
            "argv": list(argv),
            "env": {"PATH": os.defpath, "HOME": "/"},
            "cwd": "/",
            "log_limit_bytes": 1 << 20,
            "timeout_s": None,
            "grace_s": 10,
            "cgroup": None,
            "rlimits": {"core": 0},
            "oom_score_adj": None,
            "memory_bytes": None,
            "marker": False,
        }
        return {**plain, **changes}

    def start(self, attempt: str, *argv: str, **changes: Any) -> Run:
        """Start and return the run, which must be alive or over."""
        assert self.client.start(self.spec(attempt, *argv, **changes))
        return self.run_of(attempt)

    def shell(self, attempt: str, script: str, **changes: Any) -> Run:
        return self.start(attempt, "/bin/sh", "-c", script, **changes)

    def run_of(self, attempt: str) -> Run:
        run = read_run(str(self.attempts / attempt))
        assert run is not None
        return run

    def ended(self, attempt: str, timeout: float = 30) -> Exit:
        """The result, which must come in time."""
        status = self.client.wait(attempt, timeout)
        assert isinstance(status, Exited), f"{attempt}: {status}; log: {self.log(attempt)[-2000:]!r}"
        return status.exit

    def log(self, attempt: str) -> bytes:
        path = self.attempts / attempt / "log"
        return path.read_bytes() if path.exists() else b""

    def logged(self, attempt: str, text: bytes) -> None:
        """Wait until the job wrote `text`."""
        wait_until(lambda: text in self.log(attempt), 30, f"{text!r} in the log of {attempt}")

    def holder_pid(self) -> int:
        return int(self.ask({"op": "ping"})["pid"])

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        return self.ask_raw(json.dumps(request).encode() + b"\n")

    def ask_raw(self, line: bytes) -> dict[str, Any]:
        with protocol.connect(str(self.state), 10) as connection, connection.makefile("rb") as stream:
            connection.sendall(line)
            answer: dict[str, Any] = json.loads(stream.readline())
        return answer

    def holder_log(self) -> str:
        return (self.state / "holder.log").read_text()

    def kill_holder(self) -> None:
        kill(processes.identify(self.holder_pid()))

    def close(self) -> None:
        for directory in sorted(self.attempts.iterdir()):
            self.client.remove(directory.name)
        try:
            holder = processes.identify(self.holder_pid())
            self.client.end()
        except (OSError, HolderUnavailable):
            return
        wait_until(lambda: not processes.alive(holder), 10, "the holder ends")


def kill(process: processes.Identity) -> None:
    """SIGKILL, and wait until it is gone."""
    assert processes.send_signal(process, signal.SIGKILL)
    wait_until(lambda: not processes.alive(process), 10, f"{process} is gone")


def session_of(run: Run) -> list[processes.Stat]:
    """The living processes of the container's session, helpers such as squashfuse_ll among them."""
    return [one for one in processes.scan() if one.session == run.container.pid and not one.dead]


def children_of(pid: int) -> list[processes.Stat]:
    return [one for one in processes.scan() if one.ppid == pid and not one.dead]


def named(token: str) -> list[int]:
    """The living processes with `token` in their arguments (zombies have none)."""
    found = []
    for stat_ in processes.scan():
        try:
            arguments = Path(f"/proc/{stat_.pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if token.encode() in arguments and stat_.pid != os.getpid():
            found.append(stat_.pid)
    return found


def pss_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Pss:")))


def wrapper(path: Path, *argv: str) -> str:
    """A program at `path` that runs `argv` with its own arguments behind."""
    path.write_text(f'#!/bin/sh\nexec {" ".join(argv)} "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return str(path)


def copy_of_the_package(folder: Path) -> Path:
    """The package in another place, as an upgrade or another user finds it."""
    source = Path(agent.__file__).parent
    (folder / "agent").mkdir(parents=True)
    shutil.copy(source / "__init__.py", folder / "agent")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(source / "supervisor", folder / "agent" / "supervisor", ignore=ignore)
    return folder


def told_cpu_s(log: bytes) -> float:
    """The CPU seconds that BURN printed."""
    found = re.findall(rb"(\d+)m([\d.]+)s", log)
    assert found, log
    return sum(60 * int(minutes) + float(seconds) for minutes, seconds in found)
