"""Queues that clients make in a project of Pub/Sub: the installed command, Google's emulator, real containers."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import grpc
import pytest
from agent.adapters.pubsub.connection import Connection
from agent.pubsub_plan import subscription_path, topic_path
from google.pubsub_v1.services.publisher.transports.grpc import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports.grpc import SubscriberGrpcTransport
from google.pubsub_v1.types import DeleteSubscriptionRequest, DeleteTopicRequest, Subscription

from tests.e2e.site import Site
from tests.servers import Emulator
from tests.waiting import wait_until

NUMBERS = count()
WAIT_FOR_GO = "echo up; while [ ! -e go ]; do sleep 0.1; done; echo done > out"


class Lab:
    """A project, its clients, and one host that serves what they make there."""

    def __init__(self, folder: Path, image: Path, emulator: Emulator) -> None:
        self.folder, self.image, self.emulator = folder, image, emulator
        self.project = f"studio-{next(NUMBERS)}"
        self.store = folder / "store"
        self.connection = Connection(emulator.endpoint)
        self.sites: list[Site] = []
        self._channel = grpc.insecure_channel(emulator.endpoint)

    def site(self, *keys: str, results: bool = True) -> Site:
        """Return the host. keys: more lines for its queue."""
        site = Site(self.folder / "host-a", self.image, queue=self.store)
        more = [f'results = "{self.store}/results"'] if results else []
        text = site.config.read_text().replace(
            f'url = "{self.store}"', "\n".join([f'url = "pubsub://{self.project}/*"', *more, *keys])
        )
        text = text.replace('lanes = ["*"]\n', "").replace('look_every = "1s"\n', "").replace('"work"', '"studio"')
        site.config.write_text(f'{text}\n[pubsub]\nendpoint = "{self.emulator.endpoint}"\n')
        self.sites.append(site)
        return site

    def create(self, name: str) -> None:
        """Make a queue as a client does."""
        self.connection.create_topic(topic_path(self.project, name))
        path = subscription_path(self.project, f"{name}_sub")
        self.connection.create_subscription(
            Subscription(name=path, topic=topic_path(self.project, name), ack_deadline_seconds=20)
        )

    def delete(self, name: str) -> None:
        """Delete it as a client does."""
        PublisherGrpcTransport(channel=self._channel).delete_topic(
            DeleteTopicRequest(topic=topic_path(self.project, name))
        )
        SubscriberGrpcTransport(channel=self._channel).delete_subscription(
            DeleteSubscriptionRequest(subscription=subscription_path(self.project, f"{name}_sub"))
        )

    def publish(self, name: str, site: Site, sid: str, script: str = "echo done > out") -> None:
        """Put a job on a queue."""
        body = json.dumps(site.job(script, outputs=[{"path": "out"}])).encode()
        self.connection.publish(topic_path(self.project, name), body, {"edge_sid": sid})

    def has(self, name: str) -> bool:
        """Say whether the queue hands a message out now; takes it."""
        return self.connection.pull(subscription_path(self.project, f"{name}_sub"), 2.0) is not None

    def close(self) -> None:
        for site in self.sites:
            site.end()
        self._channel.close()


@pytest.fixture
def lab(tmp_path: Path, image: Path, emulator: Emulator) -> Iterator[Lab]:
    lab = Lab(tmp_path, image, emulator)
    yield lab
    lab.close()


def commits(folder: Path, sid: str) -> int:
    return len(list(folder.glob(f"{sid}/commit.json")))


def test_jobs_of_all_queues_that_match_are_run_until_those_are_empty(lab: Lab) -> None:
    site = lab.site('match = "^exp"', 'mismatch = "-old$"')
    for name in ("exp1", "exp2", "exp3-old", "other", "exp1_response"):
        lab.create(name)
        lab.publish(name, site, f"job-{name}")
    site.until_empty()
    assert {name: commits(lab.store / "results", f"job-{name}") for name in ("exp1", "exp2")} == {"exp1": 1, "exp2": 1}
    assert not lab.has("exp1")
    assert [lab.has(name) for name in ("exp3-old", "other", "exp1_response")] == [True] * 3
    jobs = json.loads(site.call("jobs", "--json"))
    assert [(job["sid"], job["state"], job["queue"]) for job in jobs] == [
        ("job-exp1", "succeeded", "studio"),
        ("job-exp2", "succeeded", "studio"),
    ]
    assert json.loads(site.call("status", "job-exp1", "--json"))["state"] == "succeeded"
    assert site.leftovers() == []


def test_an_agent_without_any_queue_ends_when_it_has_looked(lab: Lab) -> None:
    site = lab.site()
    assert "agent is ready" in site.until_empty()


def test_what_nobody_can_read_is_dropped_and_noted(lab: Lab) -> None:
    site = lab.site()
    lab.create("exp1")
    lab.connection.publish(topic_path(lab.project, "exp1"), b"no job", {"edge_sid": "bad-1"})
    site.until_empty()
    view = site.view("bad-1")
    assert view["state"] == "dead"
    assert "not JSON" in view["reason"]
    assert not lab.has("exp1")


def test_an_attempt_of_a_queue_that_was_deleted_is_followed_and_delivered_by_the_next_agent(lab: Lab) -> None:
    site = lab.site()
    lab.create("exp1")
    lab.publish("exp1", site, "job-1", WAIT_FOR_GO)
    with site.agent() as agent:
        site.wait_printed("job-1", "up")
        agent.send_signal(signal.SIGKILL)
        agent.wait()
    lab.delete("exp1")
    with site.agent():
        site.wait_journalled("attempt found")
        (site.directory("job-1") / "work" / "go").touch()
        site.wait_state("job-1", "succeeded")
        site.wait_clean()
    assert site.output("job-1") == "done\n"
    assert len(site.attempts("job-1")) == 1


def test_without_a_results_store_results_are_kept_here_and_commands_say_so(lab: Lab) -> None:
    site = lab.site(results=False)
    own = site.state / "results" / "studio"
    lab.create("exp1")
    lab.publish("exp1", site, "job-1")
    log = site.until_empty()
    assert commits(own, "job-1") == 1
    said = f"{own} is on this host alone: no other one sees the attempts and commits of queue studio"
    assert said in log
    done = site.run("config", "check")
    assert done.returncode == 0
    assert f"edge-agent: warning: queues[0].results: {said}\n" in done.stderr
    (finding,) = [row for row in json.loads(site.call("doctor", "--json")) if row["check"] == "results"]
    assert (finding["status"], finding["message"]) == ("warning", said)
    assert "queues.results" in finding["remedy"]
    assert site.state_of("job-1") == "succeeded"


def test_a_job_cannot_be_submitted_to_a_whole_project(lab: Lab) -> None:
    site = lab.site()
    done = site.run("submit", "-", input='image = "file:///a.sif"\n')
    assert done.returncode == 2
    assert f'queue "studio" (pubsub://{lab.project}/*) stands for all queues of a project' in done.stderr
    assert f'url = "pubsub://{lab.project}/SUBSCRIPTION?plain"' in done.stderr
    assert json.loads(site.call("jobs", "--json")) == []


def test_queue_init_shows_what_is_served_and_makes_nothing(lab: Lab) -> None:
    site = lab.site('match = "exp"')
    lab.create("exp1")
    lab.create("other")
    shown = site.call("queue", "init").splitlines()
    assert shown[0].startswith("studio: results in ")
    assert shown[1:] == ["  subscription exp1_sub: there"]
    done = site.run("queue", "init", "--print", "gcloud")
    assert done.returncode == 2
    assert "name one" in done.stderr


def test_a_pattern_that_is_none_is_named_with_its_line(lab: Lab) -> None:
    site = lab.site('match = "exp("')
    done = site.run("run", "--until-empty")
    assert done.returncode == 2
    assert 'queues[0].match = "exp(" (a regular expression; this one is none: missing )' in done.stderr


def test_doctor_says_whether_queues_can_be_listed(lab: Lab) -> None:
    site = lab.site()
    lab.create("exp1")
    assert "ok      queue studio: " in site.call("doctor")
    site.config.write_text(site.config.read_text().replace(lab.emulator.endpoint, "127.0.0.1:1"))
    done = site.run("doctor")
    assert done.returncode == 1
    assert "FAILURE queue studio: Pub/Sub at 127.0.0.1:1: " in done.stdout


def test_status_shows_what_keeps_queues_from_being_found(lab: Lab) -> None:
    site = lab.site()
    site.config.write_text(site.config.read_text().replace(lab.emulator.endpoint, "127.0.0.1:1"))
    with site.agent():
        wait_until(
            lambda: "problem: queue studio: Pub/Sub at 127.0.0.1:1: " in site.call("status"), 40, "the problem shows"
        )
