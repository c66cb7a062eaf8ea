"""Held jobs, gaps of the network and turns between queues: the installed command, real servers, real containers."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from agent.adapters.s3 import S3Records
from agent.pubsub_plan import Place
from agent.results import Results

from tests.e2e.site import Site, to_toml
from tests.proxy import Proxy
from tests.servers import Emulator, Minio
from tests.waiting import wait_until

NewSite = Callable[..., Site]
WAIT_FOR_GO = "echo up; while [ ! -e go ]; do sleep 0.05; done; echo done > out"
PREFETCHED = "prefetched"


def go(site: Site, sid: str) -> None:
    """Let a running job go on to its end."""
    (site.directory(sid) / "work" / "go").touch()


def here(site: Site, sid: str) -> dict[str, Any]:
    """Return what `status` shows of a job that is here."""
    shown = json.loads(site.call("status", "--json"))["attempts"]
    return next((each for each in shown if each["sid"] == sid), {})


def wait_over(site: Site, sid: str) -> None:
    """Wait until the job has succeeded and has left the queue and this host."""
    site.wait_state(sid, "succeeded")
    wait_until(lambda: here(site, sid) == {}, 60, f"{site.folder.name} is done with {sid}")


def is_held(site: Site, sid: str) -> bool:
    shown = here(site, sid)
    return shown.get("state") == PREFETCHED and shown["step"] == "held"


def configured(site: Site, **changes: str) -> Site:
    """Change lines of the site's configuration."""
    text = site.config.read_text()
    for old, new in changes.items():
        assert CONFIG[old] in text
        text = text.replace(CONFIG[old], new)
    site.config.write_text(text)
    return site


CONFIG = {"workers": "workers = 2", "queue": "[[queues]]", "lanes": 'lanes = ["*"]'}


# --- one job more than has room ---------------------------------------------------------------------------------------


def test_a_surplus_job_is_staged_while_another_runs_and_shown_so(site: Site) -> None:
    configured(site, workers="workers = 1")
    first = site.submit(WAIT_FOR_GO)
    with site.agent():
        site.wait_printed(first, "up")
        second = site.submit("echo second > out")
        wait_until(lambda: is_held(site, second), 40, "the second job is held")
        assert site.records(f"{second}/attempts/*.json") == []
        assert site.state_of(second) == "waiting"
        assert f"{PREFETCHED} (held)" in site.call("status")
        go(site, first)
        wait_over(site, second)
    assert (site.output(second), site.commits(second)) == ("second\n", 1)


def test_after_a_kill_a_held_job_is_as_if_it_had_never_come(site: Site) -> None:
    configured(site, workers="workers = 1")
    first = site.submit(WAIT_FOR_GO)
    with site.agent() as agent:
        site.wait_printed(first, "up")
        second = site.submit("echo second > out", retries=0)
        wait_until(lambda: is_held(site, second), 40, "the second job is held")
        staged = site.state / "attempts" / f"{second}.1"
        assert staged.is_dir()
        agent.send_signal(signal.SIGKILL)
        agent.wait()
    with site.agent("--service"):
        wait_until(lambda: "orphan-removed" in site.agent_log() or not staged.exists(), 20, "it is removed")
        go(site, first)
        site.wait_state(second, "succeeded")
    assert len(site.attempts(second)) == 1
    assert site.output(second) == "second\n"


def test_a_pause_gives_a_held_job_back_to_others_at_once(new_site: NewSite, tmp_path: Path) -> None:
    first, second = (new_site(name, queue=tmp_path / "queue") for name in ("host-a", "host-b"))
    configured(first, workers="workers = 1")
    running = first.submit(WAIT_FOR_GO)
    with first.agent():
        first.wait_printed(running, "up")
        held = first.submit()
        wait_until(lambda: is_held(first, held), 40, "the job is held")
        first.call("pause")
        wait_until(lambda: here(first, held) == {}, 40, "it is given back")
        second.until_empty()
        assert [each["host"] for each in second.attempts(held)] == ["host-b"]
        go(first, running)
        first.wait_state(running, "succeeded")


# --- gaps of the network ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gap", ["shorter", "longer"])
def test_a_gap_to_the_store_loses_a_job_only_to_a_host_that_took_it_over(
    new_site: NewSite, minio: Minio, bucket: str, gap: str
) -> None:
    lease = "30s" if gap == "shorter" else "5s"
    with Proxy(minio.port) as proxy:
        cut_off, other = (
            _on_s3(new_site, minio, bucket, name, port, lease)
            for name, port in (("host-a", proxy.port), ("host-b", minio.port))
        )
        sid = other.submit(f'[ "$EDGE_ATTEMPT" = 1 ] || {{ echo "$EDGE_ATTEMPT" > out; exit; }}; {WAIT_FOR_GO}')
        with cut_off.agent():
            cut_off.wait_printed(sid, "up")
            proxy.cut()
            with other.agent():
                wait_until(lambda: "leases cannot be renewed" in cut_off.agent_log(), 60, "a renewal fails")
                if gap == "longer":
                    wait_over(other, sid)
            proxy.restore()
            go(cut_off, sid)
            wait_over(cut_off, sid)
    store = Results(S3Records(minio.client(), bucket, "lab/results"), "s3://unused")
    outcomes = [record.outcome and record.outcome.value for record, _ in store.attempts(sid)]
    assert outcomes == (["succeeded"] if gap == "shorter" else ["superseded", "succeeded"])
    assert other.view(sid)["host"] == ("host-a" if gap == "shorter" else "host-b")
    assert cut_off.leftovers() == []


def _on_s3(new_site: NewSite, minio: Minio, bucket: str, name: str, port: int, lease: str) -> Site:
    keys = f'access_key = "{minio.access_key}"\nsecret_key = "{minio.secret_key}"\n'
    more = f'[s3]\nendpoint = "http://127.0.0.1:{port}"\n{keys}'
    return new_site(name, queue=f"s3://{bucket}/lab", more=more, lease=lease)


# --- turns ------------------------------------------------------------------------------------------------------------


class Lab:
    """A host with a queue on Pub/Sub, results in a directory, and another queue in a directory."""

    def __init__(self, folder: Path, image: Path, emulator: Emulator, topic: str) -> None:
        self.folder, self.image, self.emulator = folder, image, emulator
        self.place = Place("lab-1", topic)
        self.sites: list[Site] = []

    def site(self, name: str, port: int, lease: str, more: str = "") -> Site:
        store = self.folder / "store"
        site = Site(self.folder / name, self.image, queue=store, lease=lease)
        text = (
            site.config.read_text()
            .replace('lanes = ["*"]', "lanes = []")
            .replace(f'url = "{store}"', f'url = "pubsub://lab-1/{self.place.name}"\nresults = "{store}/results"')
        )
        site.config.write_text(f'{text}\n[pubsub]\nendpoint = "127.0.0.1:{port}"\n{more}')
        self.sites.append(site)
        return site


@pytest.fixture
def lab(tmp_path: Path, image: Path, emulator: Emulator, request: pytest.FixtureRequest) -> Iterator[Lab]:
    lab = Lab(tmp_path, image, emulator, f"h{abs(hash(request.node.name)):x}")
    yield lab
    for site in lab.sites:
        site.end()


@pytest.mark.parametrize("prefetch", ["true", "false"])
def test_queues_of_two_kinds_take_turns_at_one_worker(lab: Lab, prefetch: str) -> None:
    here = f'[[queues]]\nname = "near"\nurl = "{lab.folder}/near"\nlook_every = "1s"\n'
    site = lab.site("host-a", lab.emulator.port, "120s", here)
    configured(site, workers=f"workers = 1\nprefetch = {prefetch}")
    site.call("queue", "init", "work")
    site.call("queue", "init", "near")
    job = to_toml(site.job("true"))
    sids = {
        site.call("submit", "--queue", queue, "-", input=job).strip(): queue for queue in ["near"] * 5 + ["work"] * 5
    }
    site.until_empty()
    started = {sid: _started_at(site, sid, queue) for sid, queue in sids.items()}
    order = [sids[sid] for sid in sorted(sids, key=lambda sid: started[sid])]
    assert _longest_run(order[:6]) <= 2, order


def _started_at(site: Site, sid: str, queue: str) -> float:
    view = json.loads(site.call("status", sid, "--queue", queue, "--json"))
    assert view["state"] == "succeeded"
    return float(view["started_at"])


def _longest_run(names: list[str]) -> int:
    return max(len(list(group)) for _, group in groupby(names))
