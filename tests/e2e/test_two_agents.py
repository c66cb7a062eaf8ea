"""Hosts that share a queue, and the death of agents, holders and waiters: each job is committed once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.e2e.site import Site
from tests.waiting import wait_until

# The first attempt never ends by itself.
FIRST_HANGS = 'echo running; if [ $EDGE_ATTEMPT = 1 ]; then exec sleep 300; fi; echo "$EDGE_ATTEMPT" > out'
UNTIL_TOLD = "echo running; while [ ! -e go ]; do sleep 0.05; done; echo told > out"


@pytest.fixture
def pair(new_site: Callable[..., Site]) -> tuple[Site, Site]:
    """Two hosts with one queue; a silent one loses its jobs after three seconds."""
    first = new_site("host-a", lease="3s")
    return first, new_site("host-b", queue=first.queue, lease="3s")


def end_of(site: Site, sid: str) -> str:
    """Wait for the end of a job; it was committed once, and nothing is left of it."""
    wait_until(lambda: site.client.find(sid).is_over, 30, f"{sid} is over")
    wait_until(lambda: site.waiting() == [], 10, "the queue is empty")
    assert site.commits(sid) == 1
    site.wait_clean()
    return site.state_of(sid)


def test_two_agents_share_the_jobs_and_each_is_committed_once(pair: tuple[Site, Site]) -> None:
    first, second = pair
    sids = first.submit_many(20, "echo $EDGE_ATTEMPT > out; sleep 0.2")
    with ExitStack() as agents:
        for agent in [agents.enter_context(site.agent("--until-empty")) for site in pair]:
            assert agent.wait(90) == 0
    views = [first.client.find(sid) for sid in sids]
    assert {view.state for view in views} == {"succeeded"}
    assert {view.host for view in views} == {"host-a", "host-b"}
    assert [len(first.attempts(sid)) for sid in sids] == [1] * 20
    assert [first.commits(sid) for sid in sids] == [1] * 20
    assert first.waiting() == []
    first.wait_clean()
    second.wait_clean()


def test_a_job_of_a_silent_agent_is_taken_over_and_its_late_attempt_is_superseded(pair: tuple[Site, Site]) -> None:
    first, second = pair
    sid = first.submit(FIRST_HANGS)
    with first.agent() as agent:
        first.wait_printed(sid, "running")
        agent.kill()
        agent.wait()
    with second.agent():
        assert end_of(second, sid) == "succeeded"
    assert os.path.isdir(f"/proc/{first.waiter(sid)}"), "the first attempt runs on, unaware"  # noqa: PTH112
    first.until_empty()
    first.wait_clean()
    assert (first.output(sid), first.commits(sid)) == ("2\n", 1)
    assert [(each["host"], each["outcome"]) for each in first.attempts(sid)] == [
        ("host-a", "superseded"),
        ("host-b", "succeeded"),
    ]


def test_a_job_goes_on_when_its_holder_is_killed(site: Site) -> None:
    sid = site.submit(UNTIL_TOLD)
    with site.agent():
        site.wait_printed(sid, "running")
        os.kill(site.holder(), signal.SIGKILL)
        (site.directory(sid) / "work" / "go").touch()
        assert end_of(site, sid) == "succeeded"
        after = site.submit()
        assert end_of(site, after) == "succeeded"
    assert len(site.attempts(sid)) == 1


def test_a_job_whose_waiter_is_killed_is_lost_and_runs_again(site: Site) -> None:
    sid = site.submit(FIRST_HANGS)
    with site.agent():
        site.wait_printed(sid, "running")
        os.kill(site.waiter(sid), signal.SIGKILL)
        assert end_of(site, sid) == "succeeded"
    assert [each["outcome"] for each in site.attempts(sid)] == ["lost", "succeeded"]


def test_a_job_whose_agent_holder_and_waiter_are_killed_is_lost_and_runs_again(site: Site) -> None:
    sid = site.submit(FIRST_HANGS)
    with site.agent() as agent:
        site.wait_printed(sid, "running")
        for process in (agent.pid, site.holder(), site.waiter(sid)):
            os.kill(process, signal.SIGKILL)
        agent.wait()
    site.until_empty()
    assert end_of(site, sid) == "succeeded"
    assert [each["outcome"] for each in site.attempts(sid)] == ["lost", "succeeded"]
