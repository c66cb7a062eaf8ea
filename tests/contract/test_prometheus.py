"""Metrics as a monitoring system gets them over HTTP."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from agent.adapters.prometheus import MetricsServer
from agent.board import Mode
from agent.control.protocol import Snapshot
from agent.errors import Unavailable
from agent.metrics import Family, families
from agent.model.share import Share
from agent.model.usage import Totals

from tests.servers import free_port

SNAPSHOT = Snapshot(
    "1", "h", 1, Mode("ready"), Share(4.0, 8 << 30), Share(), (), (), (), (), {}, Totals(), ('a "lab"',)
)
ONE = [Family("edge_agent_a", "gauge", "A.", {"": 1.0})]
Serve = Callable[[Callable[[], Iterable[Family]]], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A function that serves families, and returns the port."""
    servers: list[MetricsServer] = []

    def start(told: Callable[[], Iterable[Family]]) -> int:
        port = free_port()
        servers.append(MetricsServer(("127.0.0.1", port), told))
        return port

    yield start
    for server in servers:
        server.close()


def read(port: int, accept: str = "") -> str:
    """Return what a monitoring system that wants this form gets."""
    with urlopen(Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept}), timeout=30) as answer:
        text: str = answer.read().decode()
        return text


def values(text: str) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"], ids=["text", "openmetrics"])
def test_every_number_arrives_under_its_name_with_its_label(serve: Serve, accept: str) -> None:
    found = values(read(serve(lambda: families(SNAPSHOT, 0.0)), accept))
    expected = {
        family.name + (f"{{{family.label}={_quoted(value)}}}" if family.label else ""): number
        for family in families(SNAPSHOT, 0.0)
        for value, number in family.values.items()
    }
    assert found == expected


def _quoted(value: str) -> str:
    return '"' + value.replace('"', '\\"') + '"'


def test_every_metric_arrives_with_its_type_and_what_it_means(serve: Serve) -> None:
    text = read(serve(lambda: families(SNAPSHOT, 0.0)))
    told = {family.name: family for family in families(SNAPSHOT, 0.0)}
    assert dict(re.findall(r"(?m)^# TYPE (\S+) (\w+)$", text)) == {name: each.kind for name, each in told.items()}
    assert dict(re.findall(r"(?m)^# HELP (\S+) (.+)$", text)) == {name: each.help for name, each in told.items()}


def test_each_look_shows_how_things_are_now(serve: Serve) -> None:
    numbers = iter((1.0, 2.0))
    port = serve(lambda: [Family("edge_agent_a", "gauge", "A.", {"": next(numbers)})])
    assert [values(read(port)) for _ in range(2)] == [{"edge_agent_a": 1.0}, {"edge_agent_a": 2.0}]


def test_a_client_that_says_nothing_keeps_no_other_waiting(serve: Serve) -> None:
    port = serve(lambda: ONE)
    with socket.create_connection(("127.0.0.1", port), 10):
        assert values(read(port)) == {"edge_agent_a": 1.0}


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_an_address_where_nobody_can_listen_is_named(serve: Serve, host: str) -> None:
    port = serve(lambda: ONE)
    with pytest.raises(Unavailable, match=re.escape(f'metrics.listen = "{host}:{port}": ')) as caught:
        MetricsServer((host, port), lambda: ())
    assert caught.value.exit_code == 3


def test_a_closed_server_leaves_its_address() -> None:
    port = free_port()
    for _ in range(2):
        server = MetricsServer(("127.0.0.1", port), lambda: ONE)
        assert values(read(port)) == {"edge_agent_a": 1.0}
        server.close()


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this kernel has no IPv6")
def test_addresses_of_ipv6_are_served_too() -> None:
    port = free_port()
    server = MetricsServer(("::1", port), lambda: ONE)
    try:
        with urlopen(f"http://[::1]:{port}/metrics", timeout=30) as answer:
            assert values(answer.read().decode()) == {"edge_agent_a": 1.0}
    finally:
        server.close()
