"""Runs in a guest as root: jobs under limits, below a group of root's own and in a delegated part of a plain user.

Prints one line of JSON for each scenario, and nothing of it judges: the test outside does.
"""

from __future__ import annotations

import json
import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.adapters.apptainer import ApptainerRuntime
from agent.adapters.cgroup import job_place, try_limits
from agent.adapters.spec import JobLimits
from agent.model.run import ContainerRun
from agent.supervisor.client import HolderClient

TREE = Path("/sys/fs/cgroup")
STATES = Path("/states")
MIB = 1024**2
USER = 1000
PIDS = 40

# Two processes spin for three seconds and tell how much CPU time all of them got in which time.
SPIN = """
import os, time
begin, before = time.monotonic(), sum(os.times()[:4])
child = os.fork()
while time.monotonic() < begin + 3: pass
if child:
    os.waitpid(child, 0)
    print((sum(os.times()[:4]) - before) / (time.monotonic() - begin))
"""
# A child takes more than there is, in portions; its parent would go on.
GREED = """
import os, select
select.select((), (), (), {delay})
child = os.fork()
if child == 0:
    held = []
    while True: held.append(b"x" * 4194304)
os.waitpid(child, 0)
print("survived")
"""
# One piece of memory that five processes see: their resident sizes together are far over the limit.
SHARED = """
import os, select
held = b"x" * 31457280
children = []
while len(children) < 4 and 0 not in children: children.append(os.fork())
select.select((), (), (), 3)
if 0 not in children:
    for child in children: os.waitpid(child, 0)
    print("fine")
"""
FORKS = """
import os, select
made = 0
for _ in range(200):
    try:
        if os.fork() == 0:
            select.select((), (), (), 60)
            os._exit(0)
    except OSError:
        break
    made += 1
print(made)
"""
BOMB = """
import os
while True:
    try: os.fork()
    except OSError: pass
"""


class Scenario:
    """The jobs of one state directory."""

    def __init__(self, state: Path) -> None:
        self.state = state
        (state / "attempts").mkdir(parents=True)
        self.runtime = ApptainerRuntime(state, lambda: None, limits=JobLimits(pids=PIDS))
        self.count = 0

    def run(
        self, script: str, *, cpus: float = 2.0, timeout: float = 60.0, after: Callable[[], None] = lambda: None
    ) -> dict[str, Any]:
        """Run one job to its end; `after` is called while it runs."""
        self.count += 1
        attempt = f"job.{self.count}"
        directory = self.state / "attempts" / attempt
        for name in ("work", "tmp", "env"):
            (directory / name).mkdir(parents=True)
        self.runtime.start(
            ContainerRun(
                attempt_id=attempt,
                directory=directory,
                image=directory / "env",
                command=(os.path.realpath("/proc/self/exe"), "-I", "-S", "-u", "-c", script),
                env={},
                home=directory / "work",
                workdir=".",
                network="none",
                cpus=cpus,
                memory=64 * MIB,
                timeout=timeout,
                grace=0.0,
                log=directory / "log",
            )
        )
        group = Path(json.loads((directory / "run.json").read_text())["cgroup"])
        set_to = {name: _read(group / name) for name in ("memory.max", "memory.oom.group", "pids.max", "cpu.max")}
        after()
        exit = self.runtime.status(attempt, 90.0).exit
        print(f"{os.times().elapsed:.0f} s: {attempt} of {self.state.name} ended", flush=True)
        return {
            "set": set_to,
            "why": exit and exit.why,
            "exit_code": exit and exit.exit_code,
            "log": (directory / "log").read_text()[-500:].strip(),
            "group_left": group.exists(),
        }

    def kill_holder(self) -> None:
        pid = HolderClient(self.state).holder_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)


def scenario(name: str) -> dict[str, Any]:
    """Everything that is seen in one place of the tree."""
    state = STATES / name
    jobs = Scenario(state)
    found: dict[str, Any] = {"self-test": try_limits(state)}
    found["cpu"] = jobs.run(SPIN, cpus=0.25)
    found["memory"] = jobs.run(GREED.format(delay=0))
    found["orphan"] = jobs.run(GREED.format(delay=1), after=jobs.kill_holder)
    found["shared"] = jobs.run(SHARED)
    found["forks"] = jobs.run(FORKS)
    found["bomb"] = jobs.run(BOMB, timeout=3.0)
    place = job_place(state)
    groups = place.groups
    found["place"] = {
        "exact": place.exact,
        "groups": str(groups),
        "left": sorted(each.name for each in groups.iterdir() if each.is_dir()) if groups else None,
        "own": Path("/proc/self/cgroup").read_text().strip(),
        "uid": os.getuid(),
    }
    jobs.runtime.end()
    return found


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def in_group(group: Path, uid: int, name: str) -> None:
    """In a child that is moved to `group` and then is `uid`: a scenario, printed."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        (group / "cgroup.procs").write_text("0")
        os.setgid(uid)
        os.setuid(uid)
        print(json.dumps({"scenario": name, **scenario(name)}), flush=True)
    except BaseException:  # noqa: BLE001 - the test outside says what is wrong
        print(json.dumps({"scenario": name, "error": traceback.format_exc()}), flush=True)
    finally:
        os._exit(0)


def main() -> None:
    """As root without systemd in a group that holds its processes, as in the root of the tree, and as a plain user."""
    (TREE / "cgroup.subtree_control").write_text("+cpu +memory +pids")
    lab, unit = TREE / "lab", TREE / "edge.service"
    for group in (lab, unit):
        group.mkdir()
    for name in ("", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
        os.chown(unit / name, USER, USER)
    STATES.mkdir()
    STATES.chmod(0o777)
    in_group(lab, 0, "root")
    in_group(unit, USER, "delegated")


main()
