"""Wishes of operators over every kind of results store: fake, directory, MinIO; and the bell over a real broker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from agent.adapters.mqtt import MqttBell, MqttConnection, SubmitterBell, broker_of
from agent.board import Board, Mode
from agent.config.mqtt import MqttSection
from agent.hosts import BELL, Hosts
from agent.model.hosts import Wish
from agent.operating import Operator
from agent.ports import RecordStore
from agent.results import Results
from agent.wishes import Wishes

from tests.fakes import FakeClock
from tests.servers import Mosquitto
from tests.waiting import wait_until

HOST = "board-1"
NewMosquitto = Callable[..., Mosquitto]


def host(records: RecordStore, folder: Path, board: Board) -> Wishes:
    board.set_mode(Mode("ready"))
    return Wishes(HOST, {"store": Hosts(records)}, board, lambda: (), FakeClock(), folder)


def test_a_wish_goes_through_the_store_and_the_answer_comes_back(records: RecordStore, tmp_path: Path) -> None:
    board = Board()
    wishes = host(records, tmp_path, board)
    wishes.step(0.0)
    operator = Operator({"store": Hosts(records)})
    asked = operator.ask(HOST, Wish("draining", 1.0, "eva@desk", "new fan"))
    wishes.ring()
    wishes.step(1.0)
    assert (board.mode.name, board.mode.reason, board.mode.by) == ("draining", "new fan", "eva@desk")
    assert operator.look(asked).is_drained
    assert operator.hosts() == (HOST,)


def test_of_many_who_want_something_at_once_each_has_a_number(records: RecordStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(lambda n: Hosts(records).wish(HOST, Wish("paused", float(n))), range(8)))
    assert sorted(numbers) == list(range(1, 9))
    newest = Hosts(records).wished(HOST, 8)
    assert newest is not None
    assert numbers[int(newest.at)] == 8


def test_hosts_are_no_jobs(records: RecordStore) -> None:
    Hosts(records).wish(HOST, Wish("paused", 1.0))
    assert Results(records, "mem://results").sids() == ()


@pytest.fixture
def connection(mosquitto: Mosquitto) -> Iterator[MqttConnection]:
    connection = MqttConnection(broker_of(MqttSection(url=mosquitto.url)), "agent-of-board-1")
    yield connection
    connection.close()


def test_the_bell_of_a_host_is_heard_by_that_host(connection: MqttConnection, mosquitto: Mosquitto) -> None:
    rings, others, connected = threading.Semaphore(0), threading.Semaphore(0), threading.Event()
    MqttBell(connection, BELL).on_ring([HOST], rings.release)
    MqttBell(connection, BELL).on_ring(["board-2"], others.release)
    connection.on_connect(connected.set)
    connection.start()
    assert connected.wait(10)
    for bell in (rings, others):
        wait_until(lambda bell=bell: bell.acquire(blocking=False))  # type: ignore[misc]
    submitter = SubmitterBell(broker_of(MqttSection(url=mosquitto.url)), BELL)
    submitter.ring(HOST)
    assert rings.acquire(timeout=10)
    assert not others.acquire(blocking=False)
