"""A disk of the agent that is full: new jobs wait, those that are here end, and their results leave."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.disks import MIB, fill, needs_root, small_disk
from tests.e2e.site import Site
from tests.waiting import wait_until

pytestmark = needs_root
RESERVE = 'disk_reserve = "1MiB"\nagent_reserve = "4MiB"'
# It writes nothing after it was told to end, and needs no room for it.
JOB = "echo kept > out; : > wait; echo running; while [ -e wait ]; do sleep 0.05; done"


@pytest.fixture
def site(new_site: Callable[..., Site], tmp_path: Path) -> Iterator[Site]:
    """A site whose state directory is a disk of its own."""
    with small_disk(tmp_path / "host-a" / "state", 48 * MIB):
        site = new_site()
        site.config.write_text(site.config.read_text().replace('disk_reserve = "16MiB"', RESERVE))
        yield site
        site.end()


def held(site: Site) -> str:
    return str(json.loads(site.call("status", "--json"))["mode"]["held"])


def test_jobs_end_and_results_leave_on_a_full_disk_and_new_jobs_wait_for_room(site: Site) -> None:
    running = site.submit(JOB)
    with site.agent("--service") as agent:
        site.wait_printed(running, "running")
        filler = fill(site.state)
        wait_until(lambda: "disk: less than 4 MiB" in held(site), 30, "new work is held")
        assert "takes no new jobs for now: disk" in site.call("status")
        waiting = site.submit()
        (site.directory(running) / "work" / "wait").unlink()
        site.wait_state(running, "succeeded")
        assert (site.output(running), site.commits(running)) == ("kept\n", 1)
        assert (site.state_of(waiting), site.attempts(waiting)) == ("waiting", [])
        assert agent.poll() is None
        filler.unlink()
        site.wait_state(waiting, "succeeded")
        wait_until(lambda: not any((site.state / "attempts").iterdir()), 30, "nothing is left of the jobs")
    log = site.agent_log()
    assert log.count("disk is full: no new jobs are taken") == 1
    assert "internal error" not in log


def test_an_agent_that_is_killed_on_a_full_disk_starts_there_and_delivers(site: Site) -> None:
    running = site.submit(JOB)
    with site.agent("--service"):
        site.wait_printed(running, "running")
        fill(site.state)
    (site.directory(running) / "work" / "wait").unlink()
    with site.agent("--service"):
        site.wait_state(running, "succeeded")
    assert (site.output(running), site.commits(running), len(site.attempts(running))) == ("kept\n", 1, 1)
