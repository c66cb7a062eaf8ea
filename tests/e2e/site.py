"""One host under test: a state directory, a configuration, the installed command, and looks at what is left of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from agent.cli.stores import client as store_client
from agent.client import Client
from agent.config import load_config
from agent.supervisor import protocol
from agent.wire import read_job_file

from tests.waiting import wait_until

COMMAND = Path(sys.executable).with_name("edge-agent")
TIMEOUT = 90.0
READY = "agent is ready"


class Site:
    """An agent of its own; sites with the same `queue` directory share their work.

    Its jobs may use images from everywhere, unless `more` says otherwise or `images` is False.
    """

    def __init__(
        self,
        folder: Path,
        image: Path,
        queue: Path | None = None,
        lease: str = "120s",
        more: str = "",
        images: bool = True,
    ) -> None:
        self.folder = folder
        self.image = image
        self.state = folder / "state"
        self.queue = queue or folder / "queue"
        folder.mkdir(parents=True, exist_ok=True)
        self.config = folder / "config.toml"
        self.config.write_text(
            f"""
[agent]
id = "{folder.name}"
state_dir = "{self.state}"
workers = 2
[resources]
cpus = 2
memory = "1GiB"
disk_reserve = "16MiB"
[[queues]]
name = "work"
url = "{self.queue}"
lanes = ["*"]
lease = "{lease}"
look_every = "1s"
[retry]
first = "1s"
max = "4s"
{more}
"""
        )
        if images and "image_prefixes" not in more:  # a file of its own: `more` may have the section already
            (folder / "conf.d").mkdir(exist_ok=True)
            (folder / "conf.d/images.toml").write_text('[policy]\nimage_prefixes = ["file:///"]\n')
        self.call("queue", "init")

    def argv(self, *arguments: str) -> list[str]:
        """Return the command line of `edge-agent` for this site."""
        return [str(COMMAND), "--config", str(self.config), *arguments]

    def run(self, *arguments: str, timeout: float = TIMEOUT, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the command to its end, whatever its exit code."""
        return subprocess.run(
            self.argv(*arguments), capture_output=True, text=True, timeout=timeout, check=False, **options
        )

    def call(self, *arguments: str, **options: Any) -> str:
        """Return what the command prints; it must succeed."""
        done = self.run(*arguments, **options)
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def until_empty(self) -> str:
        """Run an agent until nothing is left that it can run; return its log."""
        done = self.run("run", "--until-empty")
        assert done.returncode == 0, done.stderr
        return done.stderr

    @contextmanager
    def agent(self, *flags: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
        """An agent that runs during the block; it is killed at the end if it still runs."""
        log = (self.folder / "agent.log").open("a")
        before = self.agent_log().count(READY)
        process = subprocess.Popen(self.argv("run", *flags), stderr=log, stdin=subprocess.DEVNULL, text=True, **options)
        try:
            wait_until(lambda: self.agent_log().count(READY) > before or process.poll() is not None, 30, "agent is up")
            yield process
        finally:
            process.kill()
            process.wait()
            log.close()

    def job(self, script: str, **keys: Any) -> dict[str, Any]:
        """Return a small job that runs a shell script in the tiny image."""
        requires = {"cpus": 0.5, "memory": "64MiB", "disk": "1MiB", **keys.pop("requires", {})}
        command = ["sh", "-c", script]
        return {"api": "edge-agent/v1", "image": self.image.as_uri(), "command": command, "requires": requires, **keys}

    def submit(self, script: str = "echo done > out", **keys: Any) -> str:
        """Submit such a job; return its id."""
        keys.setdefault("outputs", [{"path": "out"}])
        return self.submit_table(self.job(script, **keys))

    def submit_many(self, count: int, script: str, **keys: Any) -> list[str]:
        """Submit the same small job several times; return the ids."""
        table = to_toml(self.job(script, outputs=[{"path": "out"}], **keys))
        return [self.client.submit(read_job_file(table, "job.toml")) for _ in range(count)]

    def submit_table(self, table: dict[str, Any]) -> str:
        """Submit the job that the table describes; return its id."""
        return self.call("submit", "-", input=to_toml(table)).strip()

    def view(self, sid: str) -> dict[str, Any]:
        """Return what the stores know of a job."""
        view: dict[str, Any] = json.loads(self.call("status", sid, "--json"))
        return view

    @cached_property
    def client(self) -> Client:
        """The stores without a process for each look: for waiting, and for many jobs at once."""
        config = load_config(self.config, {}, {}).config
        return store_client(config, config.queues[0])

    def state_of(self, sid: str) -> str:
        """Return the state of a job."""
        return self.client.find(sid).state

    def wait_state(self, sid: str, *states: str, timeout: float = 60.0) -> None:
        """Wait until the job is in one of the states."""
        wait_until(lambda: self.state_of(sid) in states, timeout, f"{sid} is {states}")

    def output(self, sid: str, name: str = "out") -> str:
        """Return the text of a committed output."""
        return self.saved(next(each for each in self.view(sid)["artifacts"] if each["name"] == f"outputs/{name}"))

    def log_of(self, sid: str) -> str:
        """Return the saved log of a job."""
        return self.call("logs", sid)

    def attempts(self, sid: str) -> list[dict[str, Any]]:
        """Return the attempt records of a job, first to last."""
        paths = sorted(self.records(f"{sid}/attempts/*.json"), key=lambda path: int(path.stem))
        return [json.loads(path.read_text()) for path in paths]

    def saved(self, artifact: dict[str, Any]) -> str:
        """Return the text of an artifact that a record names."""
        return (self.queue / "results" / str(artifact["key"])).read_text()

    def directory(self, sid: str, n: int = 1) -> Path:
        """Return the directory of an attempt."""
        return self.state / "attempts" / f"{sid}.{n}"

    def wait_printed(self, sid: str, text: str, n: int = 1) -> None:
        """Wait until the running attempt has printed the text, and its record says that it runs."""
        log = self.directory(sid, n) / "log"
        wait_until(lambda: log.exists() and text in log.read_text(), 30, f"{sid}.{n} prints {text!r}")
        self.wait_state(sid, "started")

    def wait_journalled(self, text: str) -> None:
        """Wait until the log of the agents that ran in the background has the text."""
        wait_until(lambda: text in self.agent_log(), 30, f"{text!r} in the agent's log")

    def agent_log(self) -> str:
        """Return the log of the agents that ran in the background."""
        log = self.folder / "agent.log"
        return log.read_text() if log.exists() else ""

    def waiter(self, sid: str, n: int = 1) -> int:
        """Return the process of the waiter of a running attempt."""
        return int(json.loads((self.directory(sid, n) / "run.json").read_text())["waiter"]["pid"])

    def holder(self) -> int:
        """Return the process of the holder."""
        with protocol.connect(str(self.state), 10.0) as connection:
            connection.sendall(protocol.encode({"op": "ping"}))
            with connection.makefile("rb") as stream:
                return int(protocol.decode(stream.readline())["pid"])

    def wait_clean(self) -> None:
        """Wait until nothing is left of any job."""
        wait_until(lambda: self.leftovers() == [], 15, "nothing is left of the jobs")

    def records(self, pattern: str) -> list[Path]:
        """Return the files in the results store that match."""
        return sorted((self.queue / "results").glob(pattern))

    def commits(self, sid: str) -> int:
        """Return the number of commits of a job."""
        return len(self.records(f"{sid}/commit.json"))

    def waiting(self) -> list[str]:
        """Return the ids of the jobs that are still in the queue."""
        return sorted(path.stem for path in (self.queue / "queue" / "pending").glob("*/*.json"))

    def leftovers(self) -> list[str]:
        """Return what a site that is done with all its jobs must not have: processes, mounts, cgroups, files."""
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.state) in line]
        attempts = self.state / "attempts"
        files = [str(path) for path in attempts.iterdir()] if attempts.exists() else []
        return [*job_processes(self.state), *mounts, *files, *self._groups()]

    def _groups(self) -> list[str]:
        from agent.adapters.cgroup import job_groups

        groups = job_groups(self.state)
        if groups is None or not groups.exists():
            return []
        return [str(path) for path in groups.iterdir() if path.is_dir()]

    def end(self) -> None:
        """End the holder and whatever a failed test left running."""
        from agent.adapters.apptainer import ApptainerRuntime

        if not self.state.exists():
            return
        runtime = ApptainerRuntime(self.state, lambda: None)
        for directory in (self.state / "attempts").glob("*"):
            runtime.remove(directory.name)
        runtime.end()


def job_processes(state: Path) -> list[str]:
    """Return the processes of jobs (containers, helpers, waiters) that belong to a state directory."""
    marks = (os.fsencode(state / "attempts"),)
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if any(mark in told for mark in marks):
            found.append(f"{process.name} {told[:200]!r}")
    return found


def to_toml(table: dict[str, Any]) -> str:
    """Return a job table as TOML; JSON values of these kinds are TOML values but for objects."""
    return "".join(f"{key} = {_value(value)}\n" for key, value in table.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)
