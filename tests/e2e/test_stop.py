"""Stopping an agent: in the foreground its jobs end and go back to the queue; as a service it only lets go of them."""

from __future__ import annotations

import signal

import pytest

from tests.e2e.site import Site
from tests.waiting import wait_until

# The first attempt says goodbye when it is asked to end; the second one is done at once.
POLITE = """
if [ $EDGE_ATTEMPT = 2 ]; then echo second > out; exit 0; fi
trap 'echo bye > out; echo ending; exit 0' TERM
echo running
while :; do sleep 0.05; done
"""
UNTIL_TOLD = "echo running; while [ ! -e go ]; do sleep 0.05; done; echo told > out; echo end; exit 7"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_foreground_agent_saves_its_jobs_and_gives_them_back(site: Site, number: signal.Signals) -> None:
    sid = site.submit(POLITE)
    with site.agent() as agent:
        site.wait_printed(sid, "running")
        agent.send_signal(number)
        assert agent.wait(30) == 0
        site.wait_clean()
    assert (site.state_of(sid), site.waiting()) == ("waiting", [sid])
    (first,) = site.attempts(sid)
    assert first["outcome"] == "stopped"
    saved = {each["name"]: site.saved(each) for each in first["artifacts"]}
    assert saved == {"log": "running\nending\n", "outputs/out": "bye\n"}
    site.until_empty()
    assert site.output(sid) == "second\n"
    assert site.commits(sid) == 1
    site.wait_clean()


def test_a_hangup_stops_neither_the_agent_nor_its_job(site: Site) -> None:
    sid = site.submit(UNTIL_TOLD)
    with site.agent() as agent:
        site.wait_printed(sid, "running")
        for _ in range(3):
            agent.send_signal(signal.SIGHUP)
        (site.directory(sid) / "work" / "go").touch()
        site.wait_state(sid, "failed")
        assert agent.poll() is None
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(30) == 0


def test_a_job_that_ignores_the_request_to_end_is_killed_after_its_grace(site: Site) -> None:
    sid = site.submit("trap '' TERM INT; echo running; while :; do sleep 0.05; done", grace="1s")
    with site.agent() as agent:
        site.wait_printed(sid, "running")
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(30) == 0
    site.wait_clean()
    assert site.attempts(sid)[0]["outcome"] == "stopped"


def test_a_stopped_service_leaves_its_job_running_and_the_next_agent_commits_it(site: Site) -> None:
    sid = site.submit(UNTIL_TOLD)
    with site.agent("--service") as agent:
        site.wait_printed(sid, "running")
        waiter = site.waiter(sid)
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(30) == 0
    assert site.state_of(sid) == "started"
    with site.agent("--service"):
        assert site.waiter(sid) == waiter
        (site.directory(sid) / "work" / "go").touch()
        site.wait_state(sid, "failed")
        site.wait_clean()
    view = site.view(sid)
    assert (view["exit_code"], view["attempts"]) == (7, 1)
    assert (site.output(sid), site.log_of(sid)) == ("told\n", "running\nend\n")


def test_a_job_that_ends_while_no_agent_runs_is_committed_by_the_next_one(site: Site) -> None:
    sid = site.submit(UNTIL_TOLD)
    with site.agent("--service") as agent:
        site.wait_printed(sid, "running")
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(30) == 0
    (site.directory(sid) / "work" / "go").touch()
    wait_until((site.directory(sid) / "exit.json").exists, 15, "the job ends without an agent")
    site.until_empty()
    assert (site.view(sid)["exit_code"], len(site.attempts(sid))) == (7, 1)
    site.wait_clean()
