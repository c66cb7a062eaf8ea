"""A host that is frozen with its job and wakes up after another one has gone on: it takes nothing back."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress

from tests.e2e.site import Site, job_processes
from tests.waiting import wait_until

# Counts on from where its checkpoint is.
COUNT = """
n=$(cat saved/n 2>/dev/null || echo 0)
echo "from $n"
mkdir -p saved
while [ ! -e go ]; do n=$((n + 1)); echo $n > n.new; mv n.new saved/n; sleep 0.05; done
cp saved/n out
"""


def processes(site: Site) -> list[int]:
    """Return the processes of the jobs of a site, waiters and containers."""
    return [int(each.split()[0]) for each in job_processes(site.state)]


def told(site: Site, number: int) -> None:
    """Send a signal to every process of the jobs of a site, twice: one may have started another meanwhile."""
    for pid in [*processes(site), *processes(site)]:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def checkpoint(site: Site, sid: str, n: int) -> int:
    """Return what the newest complete checkpoint of an attempt says, 0 = there is none."""
    attempt = next((each for each in site.attempts(sid) if each["n"] == n), None)
    if attempt is None or attempt["checkpoint"] is None:
        return 0
    return int(site.saved(attempt["checkpoint"]))


def began_from(site: Site, sid: str, n: int) -> int:
    site.wait_printed(sid, "from", n)
    return int((site.directory(sid, n) / "log").read_text().split()[1])


def test_a_frozen_host_that_wakes_up_late_takes_nothing_back(new_site: Callable[..., Site]) -> None:
    first = new_site("host-a", lease="5s")
    second = new_site("host-b", queue=first.queue, lease="5s")
    sid = first.submit(COUNT, checkpoint={"path": "saved/n", "every": "1s"})
    with first.agent() as frozen:
        wait_until(lambda: checkpoint(first, sid, 1) > 0, 30, "the first attempt has saved a checkpoint")
        frozen.send_signal(signal.SIGSTOP)
        told(first, signal.SIGSTOP)
        saved = checkpoint(first, sid, 1)
        with second.agent():
            assert began_from(second, sid, 2) >= saved
            wait_until(lambda: checkpoint(first, sid, 2) > saved, 30, "the second attempt has gone on")
            told(first, signal.SIGCONT)
            frozen.send_signal(signal.SIGCONT)
            wait_until(lambda: first.attempts(sid)[0]["outcome"] == "superseded", 30, "the first attempt gave up")
            first.wait_clean()
            newest = checkpoint(first, sid, 2)
            # Whoever gets the job next goes on from the newest checkpoint, not from that of the attempt that woke up.
            os.kill(second.waiter(sid, 2), signal.SIGKILL)
            wait_until(lambda: len(first.attempts(sid)) == 3, 30, "the job has a third attempt")
            site = first if first.attempts(sid)[2]["host"] == "host-a" else second
            began = began_from(site, sid, 3)
            assert began >= newest > saved
            (site.directory(sid, 3) / "work" / "go").touch()
            site.wait_state(sid, "succeeded")
            ends = ["superseded", "lost", "succeeded"]
            wait_until(lambda: [each["outcome"] for each in first.attempts(sid)] == ends, 30, "each end is recorded")
    assert first.commits(sid) == 1
    assert int(first.output(sid)) >= began
    shown = json.loads(second.call("status", sid, "--attempts", "--json"))
    assert [(each["n"], each["outcome"]) for each in shown] == [(1, "superseded"), (2, "lost"), (3, "succeeded")]
