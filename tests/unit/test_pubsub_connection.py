"""The order of calls about one message, over stubs whose answers the test gives."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace

from agent.adapters.pubsub.connection import Connection, _Stubs


class Answer:
    """A call on its way: `give` is its answer."""

    def __init__(self) -> None:
        self.given = False
        self._listeners: list[Callable[[object], None]] = []

    def add_done_callback(self, listener: Callable[[object], None]) -> None:
        self._listeners.append(listener)

    def give(self) -> None:
        self.given = True
        for listener in self._listeners:
            listener(self)


class Server:
    """Notes for each waiting call whether the call before it had its answer."""

    def __init__(self) -> None:
        self.first = Answer()
        self.heard: list[bool] = []

    def modify_ack_deadline(self, request: object, **options: object) -> None:
        self.heard.append(self.first.given)

    def connection(self) -> Connection:
        def future(request: object, **options: object) -> Answer:
            return self.first

        made = Connection("127.0.0.1:1")
        subscriber = SimpleNamespace(modify_ack_deadline=_Method(self.modify_ack_deadline, future))
        made.__dict__["_stubs"] = _Stubs(subscriber, None)
        return made


class _Method:
    """A method of a stub: called, it waits; `future` does not."""

    def __init__(self, call: Callable[..., None], future: Callable[..., Answer]) -> None:
        self._call = call
        self.future = future

    def __call__(self, request: object, **options: object) -> None:
        self._call(request, **options)


def test_giving_back_waits_for_the_extension_that_is_on_its_way() -> None:
    server = Server()
    connection = server.connection()
    connection.extend_soon("projects/p/subscriptions/s", "ack-1", 120)
    later = threading.Timer(0.05, server.first.give)
    later.start()
    connection.extend("projects/p/subscriptions/s", ["ack-1"], 2)
    later.join()
    assert server.heard == [True], "else the server might hold the message for 120 s after all"


def test_other_messages_do_not_wait_for_it() -> None:
    server = Server()
    connection = server.connection()
    connection.extend_soon("projects/p/subscriptions/s", "ack-1", 120)
    connection.extend("projects/p/subscriptions/s", ["ack-2"], 2)
    assert server.heard == [False]
    server.first.give()
