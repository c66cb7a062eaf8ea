"""A disk of the agent that fails: what is written or read there is an I/O error."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.disks import MIB, break_down, needs_root, small_disk
from tests.e2e.site import Site
from tests.waiting import wait_until

pytestmark = needs_root


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The state directory of host-a: a disk of its own."""
    with small_disk(tmp_path / "host-a" / "state", 48 * MIB) as place:
        yield place


def held(site: Site) -> str:
    return str(json.loads(site.call("status", "--json"))["mode"]["held"])


def test_no_new_job_is_taken_on_a_failing_disk_and_status_and_doctor_say_so(
    new_site: Callable[..., Site], disk: Path
) -> None:
    site = new_site()
    site.config.write_text(site.config.read_text().replace('"16MiB"', '"1MiB"\nagent_reserve = "4MiB"'))
    running = site.submit("while echo on > beat; do sleep 0.05; done")
    with site.agent("--service") as agent:
        site.wait_state(running, "started")
        ours = (site.holder(), site.waiter(running))
        try:
            break_down(disk)
            waiting = [site.submit() for _ in range(3)]
            wait_until(lambda: "journal: " in held(site), 30, "new work is held")
            put_back = site.agent_log().count("job put back")
            assert "takes no new jobs for now: journal" in site.call("status")
            doctor = site.run("doctor")
            assert doctor.returncode != 0
            assert f"a file in {disk} cannot be written: Input/output error" in doctor.stdout
            last = site.submit()
            assert agent.poll() is None
        finally:
            for each in reversed(ours):  # neither can write its end here
                os.kill(each, signal.SIGKILL)
    log = site.agent_log()
    assert log.count("job put back") == put_back, "each is looked at no more"
    assert log.count("no new jobs are taken") == 1
    assert "unforeseen error" not in log
    assert [site.state_of(sid) for sid in (*waiting, last)] == ["waiting"] * 4
