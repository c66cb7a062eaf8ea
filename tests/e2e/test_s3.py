"""The installed command with a queue and results on MinIO: agents that share work, and a server that goes away."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent.adapters.s3 import S3Records

from tests.contract.s3_stores import AgingStore, public
from tests.e2e.site import Site
from tests.servers import Minio
from tests.waiting import wait_until

NewSite = Callable[..., Site]
NewMinio = Callable[..., Minio]


def on_s3(new_site: NewSite, minio: Minio, bucket: str, name: str = "host-a", endpoint: str | None = None) -> Site:
    """Return a site whose queue and results lie in the bucket."""
    keys = f'access_key = "{minio.access_key}"\nsecret_key = "{minio.secret_key}"\n'
    more = f'[s3]\nendpoint = "{endpoint or minio.endpoint}"\n{keys}'
    return new_site(name, queue=f"s3://{bucket}/lab", more=more)


def results(minio: Minio, bucket: str) -> S3Records:
    return S3Records(minio.client(), bucket, "lab/results")


def pending(minio: Minio, bucket: str) -> list[str]:
    """Return the ids of the jobs that are still in the queue."""
    records = S3Records(minio.client(), bucket, "lab/queue")
    return [sid for lane in records.list("pending/").prefixes for sid in records.list(f"pending/{lane}/").records]


def agent_log(site: Site) -> str:
    return (site.folder / "agent.log").read_text()


def test_two_agents_share_ten_jobs_and_each_is_committed_once(
    new_site: NewSite, minio: Minio, bucket: str, tmp_path: Path
) -> None:
    sites = [on_s3(new_site, minio, bucket, name) for name in ("host-a", "host-b")]
    sids = [sites[0].submit(f"sleep 0.5; echo {number} > out") for number in range(10)]
    with sites[0].agent(), sites[1].agent():
        for sid in sids:
            sites[0].wait_state(sid, "succeeded")
        wait_until(lambda: pending(minio, bucket) == [], 10, "the queue is empty")
    store = results(minio, bucket)
    for number, sid in enumerate(sids):
        assert list(store.list(f"{sid}/attempts/").records) == ["1"]
        assert "commit" in store.list(f"{sid}/").records
        sites[1].call("results", sid, "--to", str(tmp_path / sid))
        assert (tmp_path / sid / "out").read_text() == f"{number}\n"
    assert {sites[0].view(sid)["host"] for sid in sids} == {"host-a", "host-b"}
    sites[0].call("prune", "--older-than", "0s")
    assert store.list("").prefixes == ("@hosts",)


def test_a_result_waits_while_the_server_is_away_and_leaves_when_it_is_back(
    new_site: NewSite, new_minio: NewMinio
) -> None:
    minio = new_minio()
    site = on_s3(new_site, minio, "lab")
    sid = site.submit("sleep 4; echo kept > out")
    with site.agent() as process:
        site.wait_state(sid, "started")
        minio.stop(signal.SIGKILL)
        wait_until(lambda: _waiting(site) == [sid], 40, "the result waits")
        assert process.poll() is None
        minio.start()
        site.wait_state(sid, "succeeded", timeout=20)
        wait_until(lambda: pending(minio, "lab") == [], 10, "the job has left the queue")
    assert list(results(minio, "lab").list(f"{sid}/attempts/").records) == ["1"]
    site.call("results", sid, "--to", str(site.folder / "fetched"))
    assert (site.folder / "fetched/out").read_text() == "kept\n"


def _waiting(site: Site) -> list[str]:
    """Return the jobs whose results wait in the outbox, as `status` shows them."""
    shown: dict[str, Any] = json.loads(site.call("status", "--json"))
    return [each["sid"] for each in shown["attempts"] if each["waiting"]]


def test_an_agent_starts_without_its_server_and_works_when_it_comes(new_site: NewSite, new_minio: NewMinio) -> None:
    minio = new_minio()
    site = on_s3(new_site, minio, "lab")
    sid = site.submit()
    minio.stop(signal.SIGKILL)
    with site.agent():
        wait_until(lambda: "no connection" in agent_log(site), 20, "the log says that the server is away")
        minio.start()
        site.wait_state(sid, "succeeded", timeout=30)


def test_a_server_that_ignores_conditions_is_named_by_init_and_by_the_agent(
    new_site: NewSite, minio: Minio, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_AGENT_AGENT__LOG_LEVEL", "debug")  # shows the whole advert
    public(minio, bucket)
    with AgingStore(minio.port, ignores_conditions=True) as weak:
        site = on_s3(new_site, minio, bucket, endpoint=weak.endpoint)
        done = site.run("queue", "init")
        assert done.returncode == 0
        assert "ignores" in done.stderr
        with site.agent():
            advertised = "ignores conditional writes: two hosts may run one job; the first commit that is read wins"
            wait_until(lambda: advertised in agent_log(site), 20)


def test_an_unreachable_server_is_one_clear_line(new_site: NewSite, new_minio: NewMinio) -> None:
    minio = new_minio()
    site = on_s3(new_site, minio, "lab")
    minio.stop(signal.SIGKILL)
    done = site.run("jobs")
    assert done.returncode == 3
    assert len(done.stderr.strip().splitlines()) == 1
    assert "no connection" in done.stderr
    assert minio.secret_key not in done.stderr + site.call("config", "show")
