"""The path of a job over Pub/Sub: the installed command, Google's emulator, real containers, results in a directory."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent.adapters.pubsub.connection import Connection
from agent.pubsub_plan import Place

from tests.e2e.site import Site, to_toml
from tests.proxy import Proxy
from tests.servers import Emulator
from tests.waiting import wait_until

PROJECT = "lab-1"


class Lab:
    """A queue on Pub/Sub with its results in a directory, and the hosts that serve it."""

    def __init__(self, folder: Path, image: Path, emulator: Emulator, topic: str) -> None:
        self.folder, self.image, self.emulator = folder, image, emulator
        self.place = Place(PROJECT, topic)
        self.store = folder / "store"
        self.sites: list[Site] = []
        self.connection = Connection(emulator.endpoint)

    def site(self, name: str = "host-a", *, endpoint: str | None = None, lease: str = "120s", workers: int = 2) -> Site:
        """Return a host of the queue."""
        site = Site(self.folder / name, self.image, queue=self.store, lease=lease)
        text = site.config.read_text().replace(
            f'url = "{self.store}"', f'url = "pubsub://{PROJECT}/{self.place.name}"\nresults = "{self.store}/results"'
        )
        text = text.replace("workers = 2", f"workers = {workers}").replace('lanes = ["*"]', "lanes = []")
        site.config.write_text(f'{text}\n[pubsub]\nendpoint = "{endpoint or self.emulator.endpoint}"\n')
        self.sites.append(site)
        return site

    def waiting(self, lane: str = "any-none") -> int:
        """Return how many messages the lane's subscription hands out now, of its own lane and others; takes them."""
        count = 0
        while self.connection.pull(self.place.subscription(lane), 2.0) is not None:
            count += 1
        return count


@pytest.fixture
def new_lab(tmp_path: Path, image: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[Emulator], Lab]]:
    labs: list[Lab] = []

    def make(emulator: Emulator) -> Lab:
        labs.append(Lab(tmp_path, image, emulator, f"e{abs(hash(request.node.name)):x}"))
        return labs[-1]

    yield make
    for lab in labs:
        for site in lab.sites:
            site.end()


@pytest.fixture
def lab(new_lab: Callable[[Emulator], Lab], emulator: Emulator) -> Lab:
    return new_lab(emulator)


def events(site: Site, name: str) -> list[str]:
    """Return the lines of the agent's log with an event."""
    lines = (site.folder / "agent.log").read_text().splitlines()
    return [line for line in lines if name in line]


def test_a_job_goes_through_pubsub_and_is_acknowledged_after_its_commit(lab: Lab) -> None:
    site = lab.site()
    assert "made" in site.call("queue", "init")
    assert "made" not in site.call("queue", "init")
    sid = site.submit("echo over pubsub > out; cat out")
    assert site.state_of(sid) == "waiting"
    site.until_empty()
    assert site.state_of(sid) == "succeeded"
    assert site.output(sid) == "over pubsub\n"
    assert site.log_of(sid) == "over pubsub\n"
    assert site.commits(sid) == 1
    assert [job["sid"] for job in json.loads(site.call("jobs", "--json"))] == [sid]
    assert site.leftovers() == []
    # Nothing comes again: copies of the emulator for other lanes went the same way, or lie with lanes of other hosts.
    assert lab.waiting() == 0


def test_a_submission_that_is_repeated_is_one_job_though_there_are_two_messages(lab: Lab) -> None:
    site = lab.site()
    site.call("queue", "init")
    job = to_toml(site.job("echo ran >> out; cat out", outputs=[{"path": "out"}]))
    assert {site.call("submit", "--id", "nightly", "-", input=job).strip() for _ in range(2)} == {"nightly"}
    site.until_empty()
    assert (site.view("nightly")["state"], site.view("nightly")["attempts"]) == ("succeeded", 1)
    assert site.commits("nightly") == 1
    assert site.leftovers() == []
    assert lab.waiting() == 0


def test_what_nobody_can_run_becomes_a_dead_letter_that_its_submitter_sees(lab: Lab) -> None:
    site = lab.site()
    site.call("queue", "init")
    lab.connection.publish(lab.place.topic, b"no job", {"edge_sid": "bad-1"})
    site.until_empty()
    view = site.view("bad-1")
    assert view["state"] == "dead"
    assert "not JSON" in view["reason"]
    letter = lab.connection.pull(f"projects/{PROJECT}/subscriptions/{lab.place.name}-dead", 10)
    assert letter is not None
    assert letter.message.data == b"no job"
    attributes = dict(letter.message.attributes)
    assert (attributes["sid"], attributes["host"]) == ("bad-1", "host-a")
    assert "not JSON" in attributes["reason"]
    assert lab.waiting("plain") == 0


def test_a_cancelled_job_never_starts(lab: Lab) -> None:
    site = lab.site()
    site.call("queue", "init")
    sid = site.submit()
    site.call("cancel", sid)
    site.until_empty()
    assert site.state_of(sid) == "cancelled"
    assert lab.waiting() == 0


def test_two_agents_share_ten_jobs_and_commit_each_once(lab: Lab) -> None:
    sites = [lab.site("host-a"), lab.site("host-b")]
    sites[0].call("queue", "init")
    sids = [sites[0].submit("sleep 0.5; echo done > out") for _ in range(10)]
    with sites[0].agent(), sites[1].agent():
        for sid in sids:
            sites[0].wait_state(sid, "succeeded")
    assert [sites[0].commits(sid) for sid in sids] == [1] * 10
    assert [len(sites[0].records(f"{sid}/attempts/*.json")) for sid in sids] == [1] * 10
    assert {sites[0].view(sid)["host"] for sid in sids} == {"host-a", "host-b"}
    assert lab.waiting() == 0


def test_a_killed_agent_is_followed_by_one_that_holds_the_message_on(lab: Lab) -> None:
    site = lab.site(lease="10s")
    site.call("queue", "init")
    sid = site.submit("echo up; while [ ! -e go ]; do sleep 0.1; done; echo done > out")
    with site.agent() as agent:
        site.wait_state(sid, "started")
        agent.send_signal(signal.SIGKILL)
        agent.wait()
    with site.agent():
        # Longer than the lease: the message must not have come to anybody else.
        threading.Event().wait(13)
        assert lab.waiting() == 0
        (work,) = (site.state / "attempts").glob("*/work")
        (work / "go").touch()
        site.wait_state(sid, "succeeded")
    assert len(site.records(f"{sid}/attempts/*.json")) == 1
    assert lab.waiting() == 0


def test_a_job_that_comes_again_is_recognized_and_not_run_twice(lab: Lab) -> None:
    site = lab.site()
    site.call("queue", "init")
    sid = site.submit("echo up; while [ ! -e go ]; do sleep 0.1; done; echo done > out")
    with site.agent():
        site.wait_state(sid, "started")
        body = json.dumps(site.job("exit 1")).encode()
        lab.connection.publish(lab.place.topic, body, {"edge_arch": "any", "edge_accel": "none", "edge_sid": sid})
        threading.Event().wait(2)
        (work,) = (site.state / "attempts").glob("*/work")
        (work / "go").touch()
        site.wait_state(sid, "succeeded")
    assert len(site.records(f"{sid}/attempts/*.json")) == 1


def test_jobs_beyond_the_free_workers_stay_with_the_queue(lab: Lab) -> None:
    site = lab.site(workers=1)
    site.call("queue", "init")
    sids = [site.submit(f"echo {number} > out; sleep 1") for number in range(3)]
    lab.connection.publish(lab.place.topic, json.dumps(site.job("true")).encode(), {"edge_sid": "plain-1"})
    with site.agent():
        for sid in sids:
            site.wait_state(sid, "succeeded")
        wait_until(lambda: site.commits("plain-1") == 1, 30, "the job without attributes is committed")
    assert site.state_of("plain-1") == "succeeded"
    assert all(len(site.records(f"{sid}/attempts/*.json")) == 1 for sid in sids)


def test_a_lost_connection_costs_seconds_and_no_job(lab: Lab) -> None:
    proxy = Proxy(lab.emulator.port)
    site = lab.site(endpoint=f"127.0.0.1:{proxy.port}")
    remote = lab.site("submitter")
    remote.call("queue", "init")
    with proxy, site.agent():
        running = remote.submit("while [ ! -e go ]; do sleep 0.1; done; echo done > out")
        remote.wait_state(running, "started")
        proxy.cut()
        wait_until(lambda: events(site, "queue-unavailable") or events(site, "does not answer"), 20, "the outage shows")
        (work,) = (site.state / "attempts").glob("*/work")
        (work / "go").touch()
        remote.wait_state(running, "succeeded", timeout=20)
        late = remote.submit()
        proxy.restore()
        # The server may have handed it to a connection that was dead already: then it comes again after 20 s.
        remote.wait_state(late, "succeeded", timeout=50)
        soon = remote.submit()
        remote.wait_state(soon, "succeeded", timeout=50)
        wait_until(lambda: events(site, "queue answers again"), 40, "the end of the outage shows")
        assert len(events(site, "queue does not answer")) <= 2, "one line an outage, whatever the number of lanes"


def test_an_emulator_that_comes_back_empty_serves_again_after_queue_init(
    new_lab: Callable[[Emulator], Lab], own_emulator: Emulator
) -> None:
    lab = new_lab(own_emulator)
    site = lab.site()
    own_emulator.stop()
    with site.agent():
        wait_until(lambda: events(site, "does not answer"), 20, "the agent says what it waits for")
        own_emulator.start()
        wait_until(lambda: events(site, "queue init"), 20, "the agent says what to do")
        site.call("queue", "init")
        sid = site.submit()
        site.wait_state(sid, "succeeded", timeout=20)


def test_a_lane_without_subscription_is_refused_at_submission(lab: Lab) -> None:
    site = lab.site()
    site.call("queue", "init", "--lanes", "any-none")
    done = site.run("submit", "-", input='image = "file:///a.sif"\nrequires = {arch = ["arm64"]}\n')
    assert done.returncode == 2
    assert 'no lane "arm64-none"' in done.stderr
    assert "queue init work --lanes arm64-none" in done.stderr
    assert site.call("jobs", "--json").strip() == "[]"


def test_a_queue_whose_filter_differs_is_reported(lab: Lab) -> None:
    from google.pubsub_v1.types import Subscription

    site = lab.site()
    lab.connection.create_topic(lab.place.topic)
    lab.connection.create_subscription(Subscription(name=lab.place.subscription("any-none"), topic=lab.place.topic))
    done = site.run("queue", "init", "--lanes", "any-none")
    assert done.returncode == 1
    assert "gcloud pubsub subscriptions delete" in done.stdout
