"""Advertiser and AdvertSource: the fakes, and a real broker, with everything that happens to a connection."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from agent.adapters.mqtt import (
    MqttAdvertiser,
    MqttAdvertSource,
    MqttConnection,
    broker_of,
    check_broker,
    offline,
)
from agent.adapters.mqtt.advertiser import MISSED
from agent.adapters.mqtt.session import Message
from agent.adapters.mqtt.topics import host_topic
from agent.config.mqtt import MqttSection
from agent.errors import BrokerRefused, BrokerUnavailable
from agent.fleet.registry import UNKNOWN, FleetView, HostView, fold
from agent.model.capabilities import Capabilities, HostFacts
from agent.policy import BackOff
from agent.ports import Advertiser, AdvertSource
from agent.presence import STATE_EVERY
from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.subscribe import simple

from tests.fakes import FakeAdvertiser, FakeAdvertSource, FakeClock
from tests.proxy import Proxy
from tests.servers import Mosquitto
from tests.waiting import wait_until

LOOK = 0.3
PROFILE = Capabilities(host=HostFacts(id="host-a"), labels={"rack": "7"})
READY: dict[str, Any] = {
    "state": "ready",
    "reason": None,
    "lanes": ["any-none"],
    "free": {},
    "jobs": [],
    "version": "1",
}
NewBroker = Callable[..., Mosquitto]


class Agent:
    """One agent's connection and adverts."""

    def __init__(self, section: MqttSection, host: str = "host-a", instance: str = "one") -> None:
        self.problems: dict[str, str | None] = {}
        self.reports: list[str | None] = []
        self.clock = FakeClock()
        self.connects = threading.Semaphore(0)
        self.connection = MqttConnection(
            broker_of(section),
            f"{host}-{instance}",
            will=offline(host, instance, "the agent vanished"),
            report=self._report,
            back_off=BackOff(0.2, 1.0),
            refused=BackOff(1.0, 1.0),
        )
        self.advertiser = MqttAdvertiser(
            self.connection,
            host,
            instance,
            self.clock,
            lambda problem: self.problems.update(rival=problem),
        )
        self.connection.on_connect(self.connects.release)

    def _report(self, problem: str | None) -> None:
        self.problems["broker"] = problem
        self.reports.append(problem)

    def start(self) -> Agent:
        self.connection.start()
        return self

    def connected(self) -> Agent:
        assert self.connects.acquire(timeout=15), self.problems
        return self


@pytest.fixture
def new_agent() -> Iterator[Callable[..., Agent]]:
    """A function that makes agents; they end with the test."""
    agents: list[Agent] = []

    def make(section: MqttSection | str, *names: str) -> Agent:
        agents.append(Agent(MqttSection(url=section) if isinstance(section, str) else section, *names))
        return agents[-1]

    yield make
    for agent in agents:
        agent.connection.close()


def fleet(url: str | MqttSection) -> FleetView:
    section = MqttSection(url=url) if isinstance(url, str) else url
    return fold(MqttAdvertSource(broker_of(section)).adverts(LOOK))


def host(url: str | MqttSection, name: str = "host-a") -> HostView:
    return next((each for each in fleet(url).hosts if each.id == name), HostView(name))


# --- what the fakes promise, too --------------------------------------------------------------------------------------


class World(Protocol):
    source: AdvertSource

    def advertiser(self, name: str) -> Advertiser:
        """Return the advertiser of a host."""

    def break_down(self) -> None:
        """Make the adverts unreachable."""


class FakeWorld:
    def __init__(self) -> None:
        self.hosts: dict[str, FakeAdvertiser] = {}
        self.fake = FakeAdvertSource(self.hosts)
        self.source: AdvertSource = self.fake

    def advertiser(self, name: str) -> Advertiser:
        return self.hosts.setdefault(name, FakeAdvertiser())

    def break_down(self) -> None:
        self.fake.down = True


class BrokerWorld:
    def __init__(self, server: Mosquitto, new_agent: Callable[..., Agent]) -> None:
        self.server = server
        self.new_agent = new_agent
        self.source: AdvertSource = MqttAdvertSource(broker_of(MqttSection(url=server.url)))

    def advertiser(self, name: str) -> Advertiser:
        advertiser: Advertiser = self.new_agent(self.server.url, name).start().connected().advertiser
        return advertiser

    def break_down(self) -> None:
        self.server.stop()


@pytest.fixture(params=["fake", "mosquitto"])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "fake":
        return FakeWorld()
    return BrokerWorld(request.getfixturevalue("new_mosquitto")(), request.getfixturevalue("new_agent"))


def test_the_newest_adverts_of_all_hosts_are_found_by_who_comes_later(world: World) -> None:
    one, two = world.advertiser("host-a"), world.advertiser("host-b")
    one.capabilities(PROFILE, PROFILE.digest())
    one.state({**READY, "state": "starting"})
    one.state(READY)
    two.state({**READY, "state": "offline"})
    wait_until(lambda: len(fold(world.source.adverts(LOOK)).hosts) == 2)
    first, second = fold(world.source.adverts(LOOK)).hosts
    assert (first.state, first.capabilities, second.state) == ("ready", PROFILE, "offline")
    assert first.age is not None
    assert first.age < 30.0


def test_no_hosts_are_no_adverts(world: World) -> None:
    assert world.source.adverts(LOOK) == ()


def test_adverts_that_cannot_be_read_are_an_error(world: World) -> None:
    world.break_down()
    with pytest.raises(BrokerUnavailable):
        world.source.adverts(LOOK)


# --- the broker comes and goes ----------------------------------------------------------------------------------------


def events(caplog: pytest.LogCaptureFixture, name: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if getattr(record, "event", None) == name]


def test_adverts_made_before_the_connection_leave_with_it(
    new_mosquitto: NewBroker, new_agent: Callable[..., Agent]
) -> None:
    server = new_mosquitto()
    agent = new_agent(server.url)
    agent.advertiser.capabilities(PROFILE, PROFILE.digest())
    agent.advertiser.state(READY)
    agent.start().connected()
    wait_until(lambda: host(server.url).state == "ready")
    assert host(server.url).capabilities == PROFILE


def test_a_broker_that_crashed_and_forgot_everything_has_the_adverts_again(
    new_mosquitto: NewBroker, new_agent: Callable[..., Agent], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = new_mosquitto()
    agent = new_agent(server.url).start().connected()
    agent.advertiser.capabilities(PROFILE, PROFILE.digest())
    agent.advertiser.state(READY)
    server.stop(signal.SIGKILL)
    wait_until(lambda: "nothing listens there" in str(agent.problems["broker"]))
    agent.advertiser.state({**READY, "state": "paused"})
    server.start()
    agent.connected()
    wait_until(lambda: host(server.url).state == "paused")
    assert host(server.url).capabilities == PROFILE
    assert agent.problems["broker"] is None
    assert len(events(caplog, "broker-unavailable")) == 1
    assert len(events(caplog, "broker-available")) == 1


def test_a_broker_that_is_not_there_is_one_line_however_often_it_is_tried(
    new_agent: Callable[..., Agent], new_mosquitto: NewBroker, caplog: pytest.LogCaptureFixture
) -> None:
    server = new_mosquitto()
    server.stop()
    agent = new_agent(server.url).start()
    wait_until(lambda: len(agent.reports) >= 3)
    (line,) = events(caplog, "broker-unavailable")
    assert vars(line)["reason"] == f"broker {server.url}: nothing listens there"
    agent.advertiser.state({**READY, "state": "offline"})  # neither raises nor waits


def test_a_silent_connection_is_noticed_and_replaced(new_mosquitto: NewBroker, new_agent: Callable[..., Agent]) -> None:
    server = new_mosquitto()
    with Proxy(server.port) as proxy:
        section = MqttSection(url=f"mqtt://127.0.0.1:{proxy.port}", keepalive=2.0)
        agent = new_agent(section).start().connected()
        agent.advertiser.state(READY)
        wait_until(lambda: host(server.url).state == "ready")
        proxy.silence()
        wait_until(lambda: agent.problems["broker"], 2.5 * section.keepalive + 2)
        # The broker noticed, too, and said the last words.
        wait_until(lambda: host(server.url).state == "offline", 15)
        proxy.restore()
        agent.connected()
        wait_until(lambda: host(server.url).state == "ready")


def test_last_words_are_sent_for_an_agent_that_vanished_and_not_for_one_that_left(
    new_mosquitto: NewBroker, new_agent: Callable[..., Agent]
) -> None:
    server = new_mosquitto()
    with Proxy(server.port) as proxy:
        vanishing = new_agent(f"mqtt://127.0.0.1:{proxy.port}", "host-a").start().connected()
        vanishing.advertiser.state(READY)
        leaving = new_agent(server.url, "host-b").start().connected()
        leaving.advertiser.state({**READY, "state": "offline", "reason": "stopped"})
        leaving.connection.close()
        proxy.cut()
        wait_until(lambda: host(server.url, "host-a").reason == "the agent vanished")
        assert host(server.url, "host-b").reason == "stopped"


def test_adverts_are_forgotten_by_the_broker_after_three_missed_refreshes(
    new_mosquitto: NewBroker, new_agent: Callable[..., Agent]
) -> None:
    server = new_mosquitto()
    new_agent(server.url).start().connected().advertiser.state(READY)
    wait_until(lambda: host(server.url).state == "ready")
    message = simple(host_topic("host-a", "state"), port=server.port, protocol=MQTTProtocolVersion.MQTTv5)
    assert isinstance(message, MQTTMessage)
    assert message.retain
    assert 0 < vars(message.properties)["MessageExpiryInterval"] <= MISSED * STATE_EVERY


def test_an_advert_whose_time_is_over_is_gone(new_mosquitto: NewBroker, new_agent: Callable[..., Agent]) -> None:
    server = new_mosquitto()
    connection = new_agent(server.url).start().connected().connection
    body = json.dumps(READY).encode()
    connection.publish(Message(host_topic("brief", "state"), body, retain=True, lifetime=2, qos=1))
    wait_until(lambda: host(server.url, "brief").state == "ready")
    wait_until(lambda: host(server.url, "brief").state == UNKNOWN)


# --- two of one name --------------------------------------------------------------------------------------------------


def test_two_agents_of_one_name_are_noticed_by_the_first_and_named(
    new_mosquitto: NewBroker, new_agent: Callable[..., Agent], caplog: pytest.LogCaptureFixture
) -> None:
    server = new_mosquitto()
    first = new_agent(server.url, "host-a", "one").start().connected()
    first.advertiser.state(READY)
    second = new_agent(server.url, "host-a", "two").start().connected()
    second.advertiser.state(READY)
    wait_until(lambda: first.problems.get("rival"))
    assert "two" in str(first.problems["rival"])
    first.advertiser.state(READY)
    wait_until(lambda: second.problems.get("rival"))
    second.advertiser.state(READY)
    fields = [vars(record) for record in events(caplog, "duplicate-host-id")]
    assert [(each["this"], each["other"]) for each in fields] == [("one", "two"), ("two", "one")]
    second.advertiser.state({**READY, "state": "offline"})
    wait_until(lambda: first.problems["rival"] is None)


def test_a_second_agent_that_is_silent_for_long_is_forgotten(
    new_mosquitto: NewBroker, new_agent: Callable[..., Agent]
) -> None:
    server = new_mosquitto()
    first = new_agent(server.url, "host-a", "one").start().connected()
    new_agent(server.url, "host-a", "two").start().connected().advertiser.state(READY)
    wait_until(lambda: first.problems.get("rival"))
    first.clock.advance(MISSED * STATE_EVERY + 1)
    first.advertiser.state(READY)
    assert first.problems["rival"] is None


def test_the_last_words_of_an_earlier_life_are_corrected_at_once(
    new_mosquitto: NewBroker, new_agent: Callable[..., Agent]
) -> None:
    server = new_mosquitto()
    with Proxy(server.port) as proxy:
        earlier = new_agent(f"mqtt://127.0.0.1:{proxy.port}", "host-a", "one").start().connected()
        now = new_agent(server.url, "host-a", "two").start().connected()
        now.advertiser.state(READY)
        wait_until(lambda: host(server.url).state == "ready")
        said = server.log().count("host-a/state")
        proxy.cut()
        wait_until(lambda: server.log().count("host-a/state") >= said + 2, what="last words and the correction")
        wait_until(lambda: host(server.url).state == "ready")
        assert now.problems.get("rival") is None
        earlier.connection.close()


# --- secrets and access -----------------------------------------------------------------------------------------------


def test_secrets_in_labels_and_reasons_stay_here(new_mosquitto: NewBroker, new_agent: Callable[..., Agent]) -> None:
    server = new_mosquitto()
    agent = new_agent(server.url).start().connected()
    agent.advertiser.capabilities(Capabilities(labels={"api_token": "hunter2"}), "digest")
    agent.advertiser.state({**READY, "reason": "see https://eva:hunter2@wiki/"})
    wait_until(lambda: host(server.url).capabilities)
    told = json.dumps([advert.body.decode() for advert in MqttAdvertSource(broker(server)).adverts(LOOK)])
    assert "api_token" in told
    assert "hunter2" not in told


def broker(server: Mosquitto) -> Any:
    return broker_of(MqttSection(url=server.url))


@pytest.fixture
def guarded(tmp_path: Path, new_mosquitto: NewBroker) -> Mosquitto:
    """A broker with the user eva, password `right`, who may do what an agent called host-a must."""
    users, rules = tmp_path / "users", tmp_path / "rules"
    users.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(users), "eva", "right"], check=True, capture_output=True)
    rules.write_text(
        "user eva\ntopic readwrite edge-agent/v1/hosts/host-a/+\ntopic read edge-agent/v1/hosts/+/+\n"
        "topic read edge-agent/v1/bell/#\n"
    )
    return new_mosquitto("allow_anonymous false", f"password_file {users}", f"acl_file {rules}")


def test_user_and_password_let_an_agent_in(guarded: Mosquitto, new_agent: Callable[..., Agent], tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("right\n")
    section = MqttSection(url=guarded.url, username="eva", password_file=str(secret))
    new_agent(section).start().connected().advertiser.state(READY)
    wait_until(lambda: host(section).state == "ready")
    check_broker(broker_of(section), "host-a")


def test_a_wrong_password_is_one_clear_line_and_the_right_one_is_taken_later(
    guarded: Mosquitto, new_agent: Callable[..., Agent], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("wrong")
    section = MqttSection(url=guarded.url, username="eva", password_file=str(secret))
    agent = new_agent(section).start()
    wait_until(lambda: guarded.log().count("not authorised") >= 2)
    (line,) = events(caplog, "broker-unavailable")
    assert line.levelname == "ERROR"
    assert vars(line)["reason"] == (
        f"broker {guarded.url}: not authorized; check mqtt.username, mqtt.password_file and the broker's list of users"
    )
    assert "wrong" not in caplog.text
    secret.write_text("right")
    agent.connected()


def test_an_agent_that_may_not_advertise_under_its_name_says_so(
    guarded: Mosquitto, new_agent: Callable[..., Agent]
) -> None:
    section = MqttSection(url=guarded.url, username="eva", password="right")
    agent = new_agent(section, "host-b").start().connected()
    agent.advertiser.state(READY)
    wait_until(lambda: "may not publish adverts: not authorized" in str(agent.problems["broker"]))
    with pytest.raises(BrokerRefused, match="may not publish to edge-agent/v1/hosts/host-b/state: not authorized"):
        check_broker(broker_of(section), "host-b")


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two authorities (ca, other), and what the first one signed: server, client."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ca", "other"):
        openssl(
            "req", "-x509", *key, "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"
        )
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    for name in ("server", "client"):
        openssl("req", *key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        signer = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", *signer, "-out", f"{name}.pem")
    return folder


@pytest.fixture
def tls(new_mosquitto: NewBroker, certificates: Path) -> MqttSection:
    """The right settings for a broker that wants a client certificate."""
    server = new_mosquitto(
        "allow_anonymous true",
        f"cafile {certificates}/ca.pem",
        f"certfile {certificates}/server.pem",
        f"keyfile {certificates}/server.key",
        "require_certificate true",
    )
    return MqttSection(
        url=f"mqtts://127.0.0.1:{server.port}",
        ca_file=str(certificates / "ca.pem"),
        cert_file=str(certificates / "client.pem"),
        key_file=str(certificates / "client.key"),
    )


def changed(section: MqttSection, **values: Any) -> MqttSection:
    return MqttSection(**{**{name: getattr(section, name) for name in section.__struct_fields__}, **values})


def test_tls_with_an_own_authority_and_a_client_certificate(tls: MqttSection, new_agent: Callable[..., Agent]) -> None:
    new_agent(tls).start().connected().advertiser.state(READY)
    wait_until(lambda: host(tls).state == "ready")


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ({"ca_file": None}, BrokerRefused, "its certificate is not trusted: .*mqtt.ca_file names the right CA"),
        ({"ca_file": "other.pem"}, BrokerRefused, "its certificate is not trusted: "),
        ({"cert_file": None, "key_file": None}, BrokerUnavailable, "before it let us in; are mqtt.cert_file and"),
    ],
    ids=["no-ca", "wrong-ca", "no-client-certificate"],
)
def test_what_is_wrong_with_tls_is_said(
    tls: MqttSection, certificates: Path, values: dict[str, str | None], kind: type[Exception], words: str
) -> None:
    there = {name: value and str(certificates / value) for name, value in values.items()}
    with pytest.raises(kind, match=words):
        check_broker(broker_of(changed(tls, **there)), "host-a")


def test_a_plain_port_where_tls_was_expected_is_said(mosquitto: Mosquitto) -> None:
    section = MqttSection(url=mosquitto.url.replace("mqtt:", "mqtts:"))
    with pytest.raises(BrokerUnavailable, match="TLS"):
        check_broker(broker_of(section), "host-a")
