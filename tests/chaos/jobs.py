"""The kinds of jobs: what each does in its container, and what must become of it whatever goes wrong. Pure.

Each attempt tells the witness, a server apart from the product, that it starts and that it has done its work. It writes
until it is written: the disk of its host may be full for a while.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from agent.model.records import Outcome

from tests.chaos.schedule import Task

WEIGHTS = {
    "plain": 8,
    "tree": 2,
    "published": 2,
    "failing": 2,
    "recovering": 2,
    "timeout": 1,
    "checkpoint": 3,
    "cancelled": 2,
    "fresh": 1,
    "expired": 1,
    "huge": 1,
    "undecodable": 1,
}
STEPS = 5  # lines that a job with a checkpoint writes
NO_JOB = b'{"api": "edge-agent/v1", "imgae": '

_SAY = """
say() { exec 3<>/dev/tcp/127.0.0.1/PORT && echo "$EDGE_JOB $EDGE_ATTEMPT $1" >&3 && read -t 30 -r _ <&3 || exit 97
exec 3>&-; }
out() { until echo "$EDGE_JOB $EDGE_ATTEMPT" > $1; do sleep 0.2; done; }
say start
"""
_OUT = "out out\n"
_WORK: dict[str, str] = {
    "plain": "sleep SECONDS\n" + _OUT + "say end",
    "fresh": "sleep SECONDS\n" + _OUT + "say end",
    "published": "sleep SECONDS\n" + _OUT + "say end",
    "tree": "until mkdir -p tree/a; do sleep 0.2; done; for n in 1 2 3; do out tree/a/$n; done\nsay end",
    "failing": "sleep SECONDS\nsay end\nexit 7",
    "recovering": "if [ $EDGE_ATTEMPT = 1 ]; then exit 3; fi\n" + _OUT + "say end",
    "timeout": "sleep 300",
    "cancelled": "sleep 300",
    "checkpoint": f"""
n=0; if [ -e state ]; then n=$(wc -l < state); fi
while [ $n -lt {STEPS} ]; do n=$((n + 1)); until echo "$n $EDGE_ATTEMPT" >> state; do sleep 0.2; done; sleep 0.3; done
until cp state out; do sleep 0.2; done
say end""",
}


class Expected(NamedTuple):
    """What must become of a kind of job.

    outcomes: those that its result may have, none = it has no result. starts, ends: what the attempt that won has told
    the witness. output: whether `out` is its work; lost: whether the queue still holds it, or the dead letters.
    """

    outcomes: tuple[Outcome, ...]
    exit_code: int | None = None
    failures: int | None = None
    starts: bool = True
    ends: bool = False
    output: str | None = None
    place: str = "results"


EXPECTED = {
    "plain": Expected((Outcome.SUCCEEDED,), 0, ends=True, output="out"),
    "fresh": Expected((Outcome.SUCCEEDED,), 0, ends=True, output="out"),
    "published": Expected((Outcome.SUCCEEDED,), 0, ends=True, output="out"),
    "tree": Expected((Outcome.SUCCEEDED,), 0, ends=True, output="tree"),
    "checkpoint": Expected((Outcome.SUCCEEDED,), 0, ends=True, output="out"),
    "recovering": Expected((Outcome.SUCCEEDED,), 0, ends=True, output="out"),
    "failing": Expected((Outcome.FAILED,), 7, failures=2, ends=True),
    "timeout": Expected((Outcome.TIMED_OUT,), failures=1),
    "cancelled": Expected((Outcome.CANCELLED,), starts=False),
    "expired": Expected((Outcome.EXPIRED,), starts=False),
    "huge": Expected((), starts=False, place="queue"),
    "undecodable": Expected((), starts=False, place="dead"),
}
NEVER_RUNS = ("expired", "huge", "undecodable")


def table(task: Task, image: str, port: int, published: str) -> dict[str, Any] | None:
    """Return the job as its submitter writes it, None for a message that is none.

    image, published: URIs, of the latter as a prefix. port: of the witness.
    """
    if task.kind == "undecodable":
        return None
    script = (_SAY + _WORK.get(task.kind, _WORK["plain"])).replace("PORT", str(port))
    keys: dict[str, Any] = {
        "image": image,
        "name": f"{task.kind}-{task.number}",
        "command": ["bash", "-c", script.replace("SECONDS", f"{task.seconds:.2f}")],
        "requires": {"cpus": 0.5, "memory": "64MiB", "disk": "1MiB"},
        "network": "host",
        "priority": task.priority,
        "grace": "1s",
    }
    output = EXPECTED[task.kind].output
    if output is not None:
        keys["outputs"] = [{"path": output}]
    return {**keys, **_more(task, published)}


def _more(task: Task, published: str) -> dict[str, Any]:
    if task.kind == "published":
        return {"outputs": [{"path": "out", "uri": f"{published}/{task.sid}"}]}
    if task.kind == "checkpoint":
        return {"checkpoint": {"path": "state", "every": "1s"}}
    if task.kind == "huge":
        return {"requires": {"cpus": 0.5, "memory": "900TiB", "disk": "1MiB"}}
    more: dict[str, dict[str, Any]] = {
        "failing": {"retries": 1},
        "recovering": {"retries": 1, "retry_on": [3]},
        "timeout": {"timeout": "2s"},
        "expired": {"expires": "0s"},
        "fresh": {"expires": "24h"},
    }
    return more.get(task.kind, {})


def output_is_right(task: Task, n: int, text: str) -> bool:
    """Say whether attempt n of the job left this as its output."""
    if task.kind == "checkpoint":
        return _is_counted(text, n)
    return text == f"{task.sid} {n}\n"


def _is_counted(text: str, last: int) -> bool:
    """One line a step, each once and in order, by attempts that followed each other up to the one that won."""
    lines = [line.split() for line in text.splitlines()]
    if any(len(words) != 2 for words in lines):
        return False
    steps, attempts = [int(step) for step, _ in lines], [int(n) for _, n in lines]
    return steps == list(range(1, STEPS + 1)) and attempts == sorted(attempts) and attempts[-1] <= last
