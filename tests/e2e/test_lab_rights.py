"""What the accounts of a lab may do on its servers, tried on real ones: their work, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent import lab as labs
from agent.adapters.mqtt.broker import broker_of
from agent.adapters.mqtt.session import Message, Received, Session, Subscription
from agent.adapters.mqtt.topics import ALL_HOSTS, ALL_LOGS, bell_topic, host_topic, log_topic
from agent.adapters.s3 import S3Client, connect
from agent.adapters.s3.errors import S3Failure
from agent.cli.lab import set_up
from agent.config import Config, load_config
from agent.errors import BrokerRefused

from tests.servers import INSTALL, free_port
from tests.waiting import wait_until

BUCKET = "edge-lab"
STATE, BELL = host_topic("host-a", "state"), bell_topic("lab", "any-none")
KINDS = ("agent", "submit", "operator")


@pytest.fixture(scope="module")
def lab(tools_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of a lab that runs for all tests here."""
    assert (tools_cache / "bin/minio").exists(), f"MinIO is missing; {INSTALL}"
    directory = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tools_cache / 'bin'}:{os.environ['PATH']}")
        labs.up(directory, labs.Settings(minio_port=free_port(), mqtt_port=free_port()), set_up)
    yield directory
    labs.down(directory)


def config_of(lab: Path, kind: str) -> Config:
    return load_config(lab / f"lab-{kind}.toml", {}, {}).config


def store(lab: Path, kind: str) -> S3Client:
    return connect(config_of(lab, kind).s3, {})


def administrator(lab: Path) -> S3Client:
    found = labs.load(lab)
    assert found is not None
    return connect(labs.store_of(lab, found.settings).section, {})


SUBMITTED = ["lab/queue/pending/any-none/s1.json", "lab/results/s1/submission.json", "lab/results/s1/cancel.json"]
WISH = "lab/results/@hosts/host-a/wishes/1.json"


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("agent", "lab/results/s1/attempts/1.json"),
        ("agent", "lab/results/s1/commit.json"),
        ("agent", "lab/results/s1/attempts/1/live/000000000000000.json"),
        ("agent", "lab/results/@hosts/host-a/note.json"),
        ("agent", "lab/queue/dead/s1.json"),
        ("agent", "lab/queue/pending/any-none/s1~host-a.json"),
        ("agent", "files/out"),
        ("operator", WISH),
        ("operator", "lab/results/s1/dead.json"),
        *((kind, "lab/results/s1/watch.json") for kind in ("submit", "operator")),
        *((kind, key) for kind in ("submit", "operator") for key in (*SUBMITTED, "files/in")),
    ],
)
def test_each_may_write_what_is_its_work(lab: Path, kind: str, key: str) -> None:
    store(lab, kind).call("PUT", BUCKET, key, body=b"{}")
    for other in KINDS:
        assert store(lab, other).call("GET", BUCKET, key).data == b"{}"


@pytest.mark.parametrize(
    ("kind", "method", "key"),
    [
        ("agent", "PUT", SUBMITTED[0]),  # who has a board's credentials cannot make other boards run something
        ("agent", "PUT", WISH),  # nor stop other boards
        ("submit", "PUT", WISH),
        ("agent", "DELETE", WISH),
        ("agent", "DELETE", "lab/queue/dead/s1.json"),
        ("submit", "DELETE", "lab/queue/dead/s1.json"),
        ("submit", "PUT", "lab/results/s1/dead.json"),
        ("agent", "PUT", "lab/other"),
        ("agent", "DELETE", "lab/results/s1/commit.json"),
        ("agent", "DELETE", "files/out"),
        *((kind, "PUT", "lab/results/s1/attempts/1.json") for kind in ("submit", "operator")),
        ("submit", "DELETE", "lab/results/s1/attempts/1.json"),
        ("submit", "DELETE", "lab/results/s1/commit.json"),
        *((kind, "DELETE", None) for kind in KINDS),
        *((kind, "PUT", "elsewhere/x") for kind in KINDS),
        *((kind, "GET", "elsewhere/x") for kind in KINDS),
    ],
)
def test_nobody_may_do_more(lab: Path, kind: str, method: str, key: str | None) -> None:
    if key is not None:
        administrator(lab).call("PUT", BUCKET, key, body=b"{}")
    body = b"{}" if method == "PUT" else None
    with pytest.raises(S3Failure) as refused:
        store(lab, kind).call(method, BUCKET, key, body=body)
    assert refused.value.code == "AccessDenied"


def test_operators_remove_what_is_over(lab: Path) -> None:
    for key in ("lab/results/s1/attempts/1/log", "lab/results/s1/attempts/1.json", "lab/results/s1/commit.json"):
        administrator(lab).call("PUT", BUCKET, key, body=b"{}")
        store(lab, "operator").call("DELETE", BUCKET, key)


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_sees_or_makes_other_buckets(lab: Path, kind: str) -> None:
    administrator(lab).ensure_bucket("private")
    for method in ("GET", "PUT"):
        with pytest.raises(S3Failure) as refused:
            store(lab, kind).call(method, "private" if method == "GET" else f"new-{kind}")
        assert refused.value.code == "AccessDenied"


def test_what_checks_left_behind_goes_after_a_day_and_jobs_never(lab: Path) -> None:
    rules = administrator(lab).call("GET", BUCKET, query={"lifecycle": ""}).data.decode()
    assert rules.count("<Days>1</Days>") == rules.count("<Prefix>") == 4
    assert "pending" not in rules
    assert rules.count("~doctor/") == rules.count(".edge-agent-test-") == 2


def session(lab: Path, kind: str, received: list[Received] | None = None) -> Session:
    kept = [] if received is None else received
    opened = Session(broker_of(config_of(lab, kind).mqtt), f"test-{kind}-{id(kept):x}", on_message=kept.append)
    opened.open()
    return opened


@pytest.mark.parametrize(
    ("kind", "topic"),
    [
        ("agent", STATE),
        ("agent", host_topic("host-a", "capabilities")),
        ("agent", log_topic("s1")),
        ("submit", BELL),
        ("operator", BELL),
    ],
)
def test_each_may_publish_what_is_its_work(lab: Path, kind: str, topic: str) -> None:
    opened = session(lab, kind)
    opened.publish(Message(topic, b"{}", qos=1), 10.0)
    opened.close()


@pytest.mark.parametrize(
    ("kind", "topic"),
    [
        ("agent", BELL),
        ("submit", STATE),
        ("submit", log_topic("s1")),
        ("operator", STATE),
        *((kind, topic) for kind in KINDS for topic in ("elsewhere", "edge-agent/v1/hosts/host-a/other")),
    ],
)
def test_nobody_may_publish_more(lab: Path, kind: str, topic: str) -> None:
    opened = session(lab, kind)
    with pytest.raises(BrokerRefused):
        opened.publish(Message(topic, b"{}", qos=1), 10.0)
    opened.close()


def test_adverts_reach_operators_bells_agents_and_what_jobs_print_those_who_submit(lab: Path) -> None:
    received: dict[str, list[Received]] = {kind: [] for kind in KINDS}
    opened = {kind: session(lab, kind, received[kind]) for kind in KINDS}
    for each in opened.values():
        filters = ("#", ALL_HOSTS, ALL_LOGS, bell_topic("lab", "+"))
        each.subscribe([Subscription(topic) for topic in filters])
    capabilities = host_topic("host-b", "capabilities")
    opened["agent"].publish(Message(capabilities, b"{}", qos=1), 10.0)
    opened["agent"].publish(Message(log_topic("s1"), b"{}", qos=1), 10.0)
    opened["submit"].publish(Message(BELL, qos=1), 10.0)
    wait_until(lambda: BELL in topics(received["agent"]))
    # Each connection hears in the order of publishing: when these are here, nothing earlier is still on its way.
    opened["agent"].publish(Message(STATE, b"{}", qos=1), 10.0)
    wait_until(lambda: STATE in topics(received["operator"]) and STATE in topics(received["agent"]))
    wait_until(lambda: log_topic("s1") in topics(received["submit"]))
    assert topics(received["operator"]) == {capabilities, STATE, log_topic("s1")}
    assert topics(received["agent"]) == {BELL, STATE}
    assert topics(received["submit"]) == {log_topic("s1")}
    for each in opened.values():
        each.close()


def topics(received: list[Received]) -> set[str]:
    return {each.topic for each in received}
