"""Runs in a guest whose power is cut: an agent that runs short jobs from a queue on the disk, and who submits them.

Prints a line for each job that was submitted. In the last life ("last" on the kernel's command line) nobody submits;
the agent runs until the queue is empty, and what the stores have of each job is printed as JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

DISK = Path("/disk")
STATE, QUEUE = DISK / "state", DISK / "queue"
CONFIG = Path("/config.toml")
RUNTIME = Path("/runtime")
MOST_WAITING = 4  # a guest is slow, and its last life has to run all of them
RUNTIME_TEXT = """#!/bin/busybox sh
[ "$1" = --version ] && { echo "apptainer version 1.4.0"; exit 0; }
while [ $# -gt 0 ]; do
    case "$1" in
        --home=*) home=${1#--home=}; home=${home%%:*} ;;
        *.sif | */image) shift; break ;;
    esac
    shift
done
echo s >"${home%/work}/marker"
cd "$home" && exec "$@"
"""
CONFIG_TEXT = f"""
[agent]
id = "guest"
state_dir = "{STATE}"
workers = 3
[resources]
cpus = 3
memory = "512MiB"
disk_reserve = "1MiB"
agent_reserve = "1MiB"
[runtime]
path = "{RUNTIME}"
[[queues]]
name = "work"
url = "{QUEUE}"
lanes = ["*"]
look_every = "500ms"
[policy]
image_prefixes = ["file:///tiny.sif"]
[retry]
first = "200ms"
max = "1s"
"""


def mount() -> None:
    for module in sorted(Path("/modules").iterdir()):
        subprocess.run(["/bin/insmod", str(module)], check=True)
    DISK.mkdir()
    subprocess.run(["/bin/mount", "-t", "ext4", "/dev/vda", str(DISK)], check=True)


def client() -> Any:
    from agent.client import Client
    from agent.config import load_config
    from agent.wiring import Stores

    config = load_config(CONFIG, {}, {}).config
    stores, queue = Stores(config), config.queues[0]
    if not (QUEUE / "queue" / ".tmp").exists():
        stores.make(queue)
    return Client(
        queue.name, stores.submitter(queue), stores.dead_letters(queue), stores.results(queue), stores.artifacts
    )


def agent(*, until_empty: bool) -> int:
    """Run the agent in a child; return its process id."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        from agent.config import load_config
        from agent.logs import setup_logging
        from agent.wiring import run_agent

        setup_logging("info", "text")
        code = run_agent(load_config(CONFIG, {}, {}).config, until_empty=until_empty, service=True)
    finally:
        os._exit(code)
    return 0


def waiting() -> list[str]:
    """The jobs in the queue. A mark of somebody who has one in hand may outlive a power cut, and is no job."""
    return sorted(each.stem for each in (QUEUE / "queue").glob("pending/*/*.json") if not each.stem.endswith("~"))


def submit_for_ever(jobs: Any) -> None:
    from agent.model.job import parse_job

    pause = threading.Event()
    while True:
        if len(waiting()) >= MOST_WAITING:
            pause.wait(0.5)
            continue
        text = os.urandom(8).hex()
        script = f"echo {text} > out; echo said {text}"
        job = {"image": "file:///tiny.sif", "command": ["/bin/sh", "-c", script], "outputs": [{"path": "out"}]}
        sid = jobs.submit(parse_job({**job, "requires": {"cpus": 1, "memory": "16MiB", "disk": "1MiB"}}))
        print(f"submitted {sid} {text}", flush=True)
        pause.wait(0.5)


def found(sid: str) -> dict[str, Any]:
    """What the stores have of one job. A record that is no JSON fails all of it."""
    place = QUEUE / "results" / sid
    attempts = {each.stem: json.loads(each.read_text()) for each in (place / "attempts").glob("*.json")}
    commit = json.loads((place / "commit.json").read_text()) if (place / "commit.json").exists() else None
    files: dict[str, str | None] = {}
    for artifact in commit["artifacts"] if commit else ():
        content = (QUEUE / "results" / artifact["key"]).read_bytes()
        is_whole = hashlib.sha256(content).hexdigest() == artifact["sha256"]
        files[artifact["name"]] = content.decode() if is_whole else None
    return {
        "winner": commit and f"{sid}.{commit['n']}",
        "outcome": commit and commit["outcome"],
        "files": files,
        "ended": {f"{sid}.{name}": each["outcome"] for name, each in attempts.items()},
    }


def report() -> dict[str, Any]:
    from agent.adapters.journal import SqliteJournal

    records = sorted(each.name for each in (QUEUE / "results").iterdir() if each.name != ".tmp")
    return {
        "jobs": {sid: found(sid) for sid in records},
        "waiting": waiting(),
        "dead": sorted(each.stem for each in (QUEUE / "queue").glob("dead/*.json")),
        "journal": sorted(SqliteJournal(STATE / "journal.sqlite").load()),
        "damaged": sorted(each.name for each in STATE.glob("journal.sqlite.corrupt*")),
        "attempts": sorted(each.name for each in (STATE / "attempts").iterdir()),
    }


def main() -> None:
    words = Path("/proc/cmdline").read_text().split()
    if "careless" in words:
        vars(os)["fsync"] = lambda descriptor: None  # an agent that syncs no record: the test has to fail
    mount()
    RUNTIME.write_text(RUNTIME_TEXT)
    RUNTIME.chmod(0o755)
    CONFIG.write_text(CONFIG_TEXT)
    jobs = client()
    child = agent(until_empty="last" in words)
    if "last" not in words:
        submit_for_ever(jobs)
    _, status = os.waitpid(child, 0)
    print(json.dumps({"status": status, **report()}), flush=True)


main()
