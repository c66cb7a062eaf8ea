"""One container with a hostile payload, run as jobs are: by the real runtime, as this user or as a plain one.

As a program it reads what to run from its standard input and prints how that ended, both as JSON. It stands for the
agent: its environment and its state directory hold the token that no payload may see.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from agent.adapters.apptainer import ApptainerRuntime
from agent.adapters.spec import JobLimits
from agent.ports import ContainerRun, Exit

from tests.e2e.plain_user import PROJECT, USER, as_plain_user
from tests.e2e.site import job_processes

ATTEMPT = "job.1"
OTHER = "other.1"
TIMEOUT = 60.0
MODULE = "tests.escape.cell"


class Ended(NamedTuple):
    """How the container ended, and what it printed."""

    exit: Exit
    log: str


class Cell:
    """A state directory with the agent's own files and those of another job, and one container beside them."""

    def __init__(self, folder: Path, image: Path, token: str, plain: bool) -> None:
        self.state = folder / "state"
        self.image = image
        self.token = token
        self.plain = plain and os.geteuid() == 0
        self.pids = JobLimits().pids
        self.has_terminal = False
        self.directory = self.state / "attempts" / ATTEMPT
        self.work = self.directory / "work"
        others = self.state / "attempts" / OTHER
        for path in (self.work, self.directory / "tmp", others / "work", others / "secrets"):
            path.mkdir(parents=True)
        own = ("journal.db", "control.sock", "config.toml")
        for name in (*own, f"attempts/{OTHER}/work/data", f"attempts/{OTHER}/log"):
            (self.state / name).write_text(token)
        if self.plain:
            self._give_away()

    def _give_away(self) -> None:
        for path in (self.state, *self.state.rglob("*")):
            os.chown(path, USER, USER)

    @property
    def uid(self) -> int:
        """The user of agent and payload."""
        return self.state.stat().st_uid

    def run(self, script: str, **changes: Any) -> Ended:
        """Run the script to its end; nothing of it may be left then."""
        asked = {
            "script": script,
            "changes": changes,
            "state": str(self.state),
            "image": str(self.image),
            "pids": self.pids,
            "terminal": self.has_terminal,
        }
        argv = [sys.executable, "-m", MODULE]
        done = subprocess.run(
            as_plain_user(*argv) if self.plain else argv,
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=TIMEOUT + 30,
            cwd=PROJECT,
            env={"PATH": os.environ["PATH"], "HOME": "/", "AGENT_TOKEN": self.token},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert job_processes(self.state) == []
        assert str(self.state) not in Path("/proc/self/mountinfo").read_text()
        answer = json.loads(done.stdout)
        return Ended(msgspec.convert(answer["exit"], Exit), answer["log"])


def container_run(asked: dict[str, Any]) -> ContainerRun:
    """Return the run that is asked for."""
    directory = Path(asked["state"]) / "attempts" / ATTEMPT
    plain: dict[str, Any] = {
        "attempt_id": ATTEMPT,
        "directory": directory,
        "image": Path(asked["image"]),
        "command": ("sh", "-c", asked["script"]),
        "env": {},
        "home": directory / "work",
        "workdir": ".",
        "network": "none",
        "cpus": 1.0,
        "memory": 256 * 1024**2,
        "timeout": 30.0,
        "grace": 1.0,
        "log": directory / "log",
    }
    changes = dict(asked["changes"])
    if "secrets" in changes:
        changes["secrets"] = Path(changes["secrets"])
    return ContainerRun(**{**plain, **changes})


def take_terminal() -> int:
    """Give this process a terminal, which its children inherit, and return it: what is typed there can be read."""
    _, terminal = os.openpty()
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    os.dup2(terminal, 0)
    return terminal


def main() -> None:
    asked = json.loads(sys.stdin.read())
    typed = take_terminal() if asked["terminal"] else None
    limits = JobLimits(pids=asked["pids"])
    runtime = ApptainerRuntime(Path(asked["state"]), lambda: shutil.which("apptainer"), limits=limits)
    run = container_run(asked)
    try:
        runtime.start(run)
        ended = runtime.status(ATTEMPT, TIMEOUT).exit
        log = run.log.read_bytes().decode("utf-8", "replace")
    finally:
        runtime.remove(ATTEMPT)
        runtime.end()
    if typed is not None and select.select([typed], [], [], 0)[0]:
        log += "ESCAPED: typed into the terminal\n"
    print(json.dumps({"exit": msgspec.to_builtins(ended), "log": log}))


if __name__ == "__main__":
    main()
