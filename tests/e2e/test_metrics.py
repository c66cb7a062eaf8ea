"""The metrics of a running agent."""

from __future__ import annotations

from collections.abc import Callable
from urllib.request import urlopen

from tests.e2e.site import Site
from tests.servers import free_port
from tests.waiting import wait_until


def values(port: int) -> dict[str, float]:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        lines = [line.rpartition(" ") for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def test_a_running_agent_tells_of_its_jobs_and_its_address_is_its_own(new_site: Callable[..., Site]) -> None:
    port = free_port()
    listen = f'[metrics]\nlisten = "127.0.0.1:{port}"\n'
    site, other = new_site("one", more=listen), new_site("two", more=listen)
    with site.agent():
        sid = site.submit("printf %01000d 1 > out; echo up; while [ ! -e stop ]; do sleep 0.1; done")
        wait_until(lambda: values(port)['edge_agent_attempts{state="started"}'] == 1, 60, "the job is told of")
        assert values(port)["edge_agent_free_cpus"] == 1.5
        refused = other.run("run")
        assert (refused.returncode, refused.stderr.count("\n")) == (3, 1)
        assert f'metrics.listen = "127.0.0.1:{port}": Address already in use' in refused.stderr
        site.wait_printed(sid, "up")
        (site.directory(sid) / "work" / "stop").touch()
        site.wait_state(sid, "succeeded")
        ended = 'edge_agent_attempts_ended_total{outcome="succeeded"}'
        wait_until(lambda: values(port)[ended] == 1, 60, "its end is told of")
        told = values(port)
    assert told["edge_agent_job_cpu_seconds_total"] > 0
    assert told['edge_agent_moved_bytes_total{direction="out"}'] >= 1000
    assert (told['edge_agent_queue_up{queue="work"}'], told['edge_agent_state{state="ready"}']) == (1, 1)
