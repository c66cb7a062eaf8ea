"""The parts of the MQTT adapter that need no broker: tables, topics, settings."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
from agent.adapters.mqtt.broker import broker_of
from agent.adapters.mqtt.connection import BACK_OFF, REFUSED, matches
from agent.adapters.mqtt.errors import CONNACK, from_connack, from_socket
from agent.adapters.mqtt.topics import bell_filters, bell_topic, host_topic, parse_host_topic
from agent.cli.config import warnings
from agent.config import load_config
from agent.config.mqtt import MqttSection
from agent.errors import BrokerRefused, BrokerUnavailable, ConfigError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

WHERE = "mqtt://b:1"
NO_CERTIFICATE = "-----BEGIN CERTIFICATE-----MIIB-----END CERTIFICATE-----"


def test_every_answer_to_connect_that_the_client_knows_is_translated() -> None:
    known = {name for names in ReasonCode.names.values() for name, of in names.items() if PacketTypes.CONNACK in of}
    assert known - {"Success"} <= set(CONNACK)


def test_an_answer_that_the_client_does_not_know_is_still_an_error_of_ours() -> None:
    assert str(from_connack("Something New", WHERE)) == "broker mqtt://b:1: something new; the broker's log says why"


def test_wrong_credentials_are_refused_and_a_busy_broker_is_not() -> None:
    assert isinstance(from_connack("Bad user name or password", WHERE), BrokerRefused)
    assert not isinstance(from_connack("Server busy", WHERE), BrokerRefused)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (ConnectionRefusedError(111, "x"), BrokerUnavailable, "nothing listens there"),
        (ConnectionResetError(104, "x"), BrokerUnavailable, "the connection was lost"),
        (TimeoutError("timed out"), BrokerUnavailable, "it does not answer"),
        (socket.gaierror(-2, "x"), BrokerUnavailable, "its name cannot be resolved"),
        (OSError(113, "No route to host"), BrokerUnavailable, "no route to host"),
        (OSError(), BrokerUnavailable, "oserror"),
        (ssl.SSLEOFError(8, "x"), BrokerRefused, "TLS handshake"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"), BrokerRefused, "TLS failed"),
    ],
)
def test_every_kind_of_socket_error_is_translated(error: OSError, kind: type, words: str) -> None:
    translated = from_socket(error, WHERE)
    assert type(translated) is kind
    assert str(translated).startswith("broker mqtt://b:1: ")
    assert words in str(translated)


def test_an_untrusted_certificate_names_the_key_that_would_help() -> None:
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_message = "self-signed certificate"
    assert "self-signed certificate; mqtt.ca_file" in str(from_socket(error, WHERE))


def test_topics_of_adverts_are_read_as_they_are_written() -> None:
    assert parse_host_topic(host_topic("h-1", "state")) == ("h-1", "state")
    assert parse_host_topic(host_topic("h-1", "capabilities")) == ("h-1", "capabilities")


@pytest.mark.parametrize(
    "topic",
    ["edge-agent/v1/hosts/h/other", "edge-agent/v1/hosts//state", "edge-agent/v1/hosts/a/b/state", "x/h/state"],
)
def test_other_topics_are_no_adverts(topic: str) -> None:
    assert parse_host_topic(topic) is None


def test_the_bell_of_all_lanes_matches_each_lane_of_its_queue_only() -> None:
    (every,) = bell_filters("q", ["*"])
    assert matches(every, bell_topic("q", "any-none"))
    assert not matches(every, bell_topic("p", "any-none"))
    assert bell_filters("q", ["any-none", "arm64-none"]) == tuple(
        bell_topic("q", x) for x in ("any-none", "arm64-none")
    )


def test_a_broker_that_is_away_is_tried_every_few_seconds_and_one_that_refuses_seldom() -> None:
    tries = [(failures, chance) for failures in range(1, 20) for chance in (0.0, 0.5, 0.999)]
    away = [BACK_OFF.delay(*each) for each in tries]
    assert 0.5 <= min(away) < max(away) == 8.0
    refused = [REFUSED.delay(*each) for each in tries]
    assert 15.0 <= min(refused) < max(refused) == 30.0


# --- settings -------------------------------------------------------------------------------------------------------


def load(tmp_path: Path, text: str) -> MqttSection:
    file = tmp_path / "config.toml"
    file.write_text("[mqtt]\n" + text)
    return load_config(file, {}, {}).config.mqtt


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("mqtt://broker", "mqtt://broker:1883"),
        ("mqtt://broker:2000/", "mqtt://broker:2000"),
        ("mqtts://b.example", "mqtts://b.example:8883"),
        ("mqtt://[::1]:7", "mqtt://[::1]:7"),
    ],
)
def test_a_url_names_the_broker_and_whether_it_speaks_tls(tmp_path: Path, url: str, where: str) -> None:
    assert broker_of(load(tmp_path, f'url = "{url}"')).where == where


@pytest.mark.parametrize(
    "url",
    [
        "broker:1883",
        "http://b",
        "mqtt://",
        "mqtt://b:0",
        "mqtt://b:x",
        "mqtt://b:99999",
        "mqtt://b/topic",
        "mqtt://a b",
    ],
)
def test_any_other_url_is_refused_with_an_example(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"config\.toml:2: mqtt\.url = .*\(\"mqtt://host:1883\""):
        load(tmp_path, f'url = "{url}"')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("url = 'mqtt://eva:hunter2@b'", "mqtt.url names a user (write mqtt.username and mqtt.password_file)"),
        ("keepalive = '1d'", "mqtt.keepalive = 86400.0 (from 1 to 65535 seconds)"),
        ("key_file = '/k'", 'mqtt.key_file = "/k" (with it mqtt.cert_file)'),
        ("password_file = 'p'", 'mqtt.password_file = "p" (an absolute path)'),
        ("url = 'mqtt://b'\nca_file = '/c'", 'mqtt.ca_file = "/c" (only with a url that begins with mqtts://)'),
        ("url = 'mqtts://b'\nca = '/c'", "mqtt.ca holds no certificate"),
        (f"url = 'mqtt://b'\nca = '{NO_CERTIFICATE}'", "mqtt.ca: the url is not encrypted"),
        ("password = 5", "mqtt.password = ***"),
    ],
)
def test_what_cannot_work_is_refused_without_telling_secrets(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_certificate_that_is_not_there_or_is_none_is_a_configuration_error(tmp_path: Path) -> None:
    section = MqttSection(url="mqtts://b", ca_file=str(tmp_path / "gone.pem"))
    with pytest.raises(ConfigError, match=r"mqtt\.ca_file: .*gone\.pem: no such file"):
        broker_of(section)
    (tmp_path / "wrong.pem").write_text("not a certificate")
    with pytest.raises(ConfigError, match=r"mqtt\.cert_file: .*wrong\.pem"):
        broker_of(MqttSection(url="mqtts://b", cert_file=str(tmp_path / "wrong.pem")))
    with pytest.raises(ConfigError, match=r"mqtt\.ca: its text: "):
        broker_of(MqttSection(url="mqtts://b", ca=NO_CERTIFICATE))


def test_the_password_file_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "password"
    broker = broker_of(MqttSection(url="mqtt://b", password="other", password_file=str(file)))
    with pytest.raises(BrokerRefused, match=r"mqtt\.password_file .*: no such file"):
        broker.secret()
    file.write_text("one\n")
    assert broker.secret() == "one"
    file.write_text("two")
    assert broker.secret() == "two"


def test_a_bell_makes_frequent_looks_needless_unless_somebody_wants_them(tmp_path: Path) -> None:
    def look_every(queue: str, mqtt: str = "") -> float:
        file = tmp_path / "config.toml"
        file.write_text(f'[[queues]]\nname = "q"\nurl = "/q"\n{queue}\n{mqtt}')
        config = load_config(file, {}, {}).config
        return config.look_every(config.queues[0])

    assert look_every("") == 2.0
    assert look_every("", '[mqtt]\nurl = "mqtt://b"') == 30.0
    assert look_every('look_every = "7s"', '[mqtt]\nurl = "mqtt://b"') == 7.0


def test_files_that_the_agent_could_not_read_are_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    gone = tmp_path / "gone"
    file.write_text(f'[agent]\nstate_dir = "{tmp_path}"\n[mqtt]\nurl = "mqtts://b"\npassword_file = "{gone}"\n')
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.sif").touch()
    found = list(warnings(load_config(file, {}, {}).config))
    assert found == [f'mqtt.password_file: the file "{gone}" cannot be read by this user']
