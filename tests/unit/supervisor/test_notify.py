"""What is said to the service manager, to a socket as systemd's is."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent.supervisor.notify import ALIVE, READY, notify, watchdog_s

US = 4711


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """The listening end, and what NOTIFY_SOCKET says of it."""
    abstract = f"@edge-agent-{tmp_path.name}-{id(tmp_path)}"
    address = str(tmp_path / "notify") if request.param == "path" else abstract
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + address[1:] if address.startswith("@") else address)
        listener.settimeout(10)
        yield listener, address


def test_the_manager_hears_the_state(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager
    assert notify(READY, {"NOTIFY_SOCKET": address})
    assert notify(ALIVE, {"NOTIFY_SOCKET": address})
    assert [listener.recv(100), listener.recv(100)] == [b"READY=1", b"WATCHDOG=1"]


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}], ids=str)
def test_without_a_manager_nothing_is_said(environ: dict[str, str]) -> None:
    assert not notify(READY, environ)


def test_a_manager_that_is_gone_harms_nobody(tmp_path: Path) -> None:
    assert not notify(READY, {"NOTIFY_SOCKET": str(tmp_path / "gone")})


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "180000000"}, 180.0),
        ({"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": str(US)}, 180.0),
        ({"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_a_watchdog_is_for_the_process_that_it_names(environ: dict[str, str], seconds: float | None) -> None:
    assert watchdog_s(environ, US) == seconds
