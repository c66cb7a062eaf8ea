from __future__ import annotations

import socket
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import pytest
from agent.attempt import Attempt, Ending, Event
from agent.board import Mode
from agent.control import server as server_module
from agent.control.client import ask, log_parts
from agent.control.desk import Desk
from agent.control.protocol import (
    SOCKET,
    Answer,
    AnyCommand,
    Cancel,
    Drain,
    Log,
    LogPart,
    Pause,
    RefusedCommand,
    Resume,
    Snapshot,
    Status,
    at_short_path,
    new_socket,
)
from agent.control.server import MOST_CLIENTS, Server
from agent.errors import AgentUnreachable, NotFound, StoreUnavailable
from agent.model.records import Outcome
from agent.model.share import Share

from tests.waiting import wait_until
from tests.worlds import IMAGE, QUEUE, World, world

SNAPSHOT = Snapshot("1", "host-a", 1, Mode("ready"), Share(), Share(), (), (), (), ())


class Served:
    """A server in a thread of its own."""

    def __init__(self, state_dir: Path, handle: Callable[[AnyCommand], Iterable[Answer]]) -> None:
        self.state_dir = state_dir
        self.server = Server(state_dir, handle)
        self._thread = threading.Thread(target=self.server.serve, daemon=True)
        self._thread.start()

    def connect(self) -> socket.socket:
        connection = new_socket()
        connection.settimeout(10)
        at_short_path(self.state_dir, connection.connect)
        return connection

    def say(self, line: bytes) -> list[object]:
        """Send bytes and return all answers."""
        with self.connect() as connection:
            connection.sendall(line)
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as lines:
                return [msgspec.json.decode(each, type=Answer) for each in lines]

    def close(self) -> None:
        self.server.close()
        self._thread.join(10)
        assert not self._thread.is_alive()


def client_threads() -> int:
    """Return how many connections are being served."""
    return sum(each.name == "control-client" for each in threading.enumerate())


Serve = Callable[[Callable[[AnyCommand], Iterable[Answer]]], Served]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """A function that serves a handler in a directory whose path is too long for a socket address."""
    made: list[Served] = []
    state_dir = tmp_path / ("d" * 120)
    state_dir.mkdir()

    def start(handle: Callable[[AnyCommand], Iterable[Answer]]) -> Served:
        made.append(Served(state_dir, handle))
        return made[-1]

    yield start
    for each in made:
        each.close()
    wait_until(lambda: client_threads() == 0, 15)


# --- the socket -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [Status(), Pause("note"), Drain(), Resume(), Cancel("job-1")])
def test_a_command_reaches_the_agent_and_its_answer_comes_back(serve: Serve, command: AnyCommand) -> None:
    heard: list[AnyCommand] = []

    def answer(command: AnyCommand) -> Iterable[Answer]:
        heard.append(command)
        return (SNAPSHOT,)

    served = serve(answer)
    assert ask(served.state_dir, command) == SNAPSHOT
    assert heard == [command]


def test_what_the_agent_refuses_is_an_error_with_its_words(serve: Serve) -> None:
    served = serve(lambda command: (RefusedCommand("job x does not run here"),))
    with pytest.raises(NotFound, match="job x does not run here"):
        ask(served.state_dir, Cancel("x"))
    with pytest.raises(NotFound, match="job x does not run here"):
        list(log_parts(served.state_dir, Log("x")))


def test_an_error_of_the_agent_is_told_to_the_client(serve: Serve) -> None:
    def fail(command: AnyCommand) -> Iterable[Answer]:
        raise StoreUnavailable("the store is away")

    with pytest.raises(NotFound, match="the store is away"):
        ask(serve(fail).state_dir, Status())


GARBAGE = {
    "unknown command": b'{"type":"Explode"}\n',
    "unknown key": b'{"type":"Status","x":1}\n',
    "no type": b"{}\n",
    "wrong type": b'{"type":"Cancel","sid":5}\n',
    "no JSON": b"GET / HTTP/1.1\r\n\r\n",
    "no text": b'{"type":"Cancel","sid":"\xff\xfe"}\n',
    "nothing": b"\n",
    "end at once": b"",
    "cut off": b'{"type":"Sta',
    "deep": b'{"x":' + b"[" * 100_000 + b"\n",
    "bytes": bytes(range(256)),
}


@pytest.mark.parametrize("line", GARBAGE.values(), ids=GARBAGE)
def test_what_is_no_command_is_refused_and_the_server_goes_on(serve: Serve, line: bytes) -> None:
    served = serve(lambda command: (SNAPSHOT,))
    (answer,) = served.say(line)
    assert isinstance(answer, RefusedCommand)
    assert "not a command of this version" in answer.message
    assert ask(served.state_dir, Status()) == SNAPSHOT


def test_a_line_that_never_ends_is_cut(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "LINE_LIMIT", 1000)
    served = serve(lambda command: (SNAPSHOT,))
    with served.connect() as connection:
        connection.sendall(b'"' + b"x" * 5000)
        assert b"RefusedCommand" in connection.makefile("rb").readline()


def test_hanging_clients_do_not_block_others(serve: Serve) -> None:
    served = serve(lambda command: (SNAPSHOT,))
    hanging = [served.connect() for _ in range(MOST_CLIENTS - 1)]
    hanging[0].sendall(b'{"type":')
    assert ask(served.state_dir, Status()) == SNAPSHOT
    for each in hanging:
        each.close()


def test_clients_that_hang_for_too_long_make_room(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HANGING", 0.2)
    served = serve(lambda command: (SNAPSHOT,))
    hanging = [served.connect() for _ in range(MOST_CLIENTS)]
    assert ask(served.state_dir, Status()) == SNAPSHOT
    for each in hanging:
        each.close()


def test_a_client_that_leaves_early_harms_nobody(serve: Serve) -> None:
    left = threading.Event()

    def endless(command: AnyCommand) -> Iterator[Answer]:
        try:
            while True:
                yield LogPart(b"x" * 100_000, 0)
        finally:
            left.set()

    served = serve(endless)
    with served.connect() as connection:
        connection.sendall(b'{"type":"Log","sid":"x"}\n')
        connection.recv(10)
    assert left.wait(10)


def test_only_the_agents_user_and_group_may_connect(serve: Serve) -> None:
    served = serve(lambda command: (SNAPSHOT,))
    mode = (served.state_dir / SOCKET).stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o660


def test_a_socket_that_a_killed_agent_left_is_replaced(serve: Serve) -> None:
    first = serve(lambda command: (RefusedCommand("the first"),))
    first.close()
    assert (first.state_dir / SOCKET).exists()
    with pytest.raises(AgentUnreachable, match="none runs there"):
        ask(first.state_dir, Status())
    second = serve(lambda command: (SNAPSHOT,))
    assert ask(second.state_dir, Status()) == SNAPSHOT


def test_no_agent_no_directory_and_no_rights_are_told_apart(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "missing"):
        with pytest.raises(AgentUnreachable, match=r"none runs there.*start one: edge-agent run"):
            ask(place, Status())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "closed the connection"),
        (b"no JSON\n", "no agent answers"),
        (b'{"type":"Later"}\n', "no agent answers"),
        (msgspec.json.encode(LogPart(b"", 0)) + b"\n", "another version's words"),
    ],
)
def test_an_agent_that_answers_strangely_is_told(tmp_path: Path, answer: bytes, message: str) -> None:
    with new_socket() as listener:
        at_short_path(tmp_path, listener.bind)
        listener.listen()

        def answer_once() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=answer_once)
        thread.start()
        with pytest.raises(AgentUnreachable, match=message):
            ask(tmp_path, Status())
        thread.join()


def test_every_part_of_a_log_arrives_in_order_and_bytes_stay_bytes(serve: Serve) -> None:
    parts = [LogPart(b"\xff\x00one\n", 0), LogPart(b"x" * 2_000_000, 6), LogPart(b"", 2_000_006, end=True)]
    served = serve(lambda command: parts)
    assert list(log_parts(served.state_dir, Log("job-1"))) == parts


def test_a_log_that_breaks_off_is_told(serve: Serve) -> None:
    served = serve(lambda command: (LogPart(b"one", 0),))
    parts = log_parts(served.state_dir, Log("job-1", follow=True))
    assert next(parts) == LogPart(b"one", 0)
    with pytest.raises(AgentUnreachable, match="closed the connection"):
        next(parts)


# --- what the commands do -------------------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr("agent.watching.TICK", 0.02)
    made = world(tmp_path)
    yield made
    made.runtime.close()


class Office:
    """A desk over a whole agent, and its answers."""

    def __init__(self, made: World) -> None:
        self.made = made
        self.closing = threading.Event()
        self.desk = Desk(made.context, ("any-none",), self.closing)

    def snapshot(self, command: AnyCommand) -> Snapshot:
        (answer,) = self.desk.handle(command)
        assert isinstance(answer, Snapshot), answer
        return answer

    def refusal(self, command: AnyCommand) -> str:
        (answer,) = self.desk.handle(command)
        assert isinstance(answer, RefusedCommand), answer
        return answer.message

    def log(self, command: Log) -> list[LogPart]:
        return [answer for answer in self.desk.handle(command) if isinstance(answer, LogPart)]

    def claim(self, sid: str = "job-1") -> Attempt:
        """Show an attempt with a directory; nothing of it runs."""
        table = {"image": IMAGE, "name": "train"}
        attempt = Attempt(sid, 1, "t", "host-a", QUEUE, "h", "boot", 5.0, table, "amd64", Share(1.0, 100, 10))
        self.made.directory(sid).mkdir(parents=True)
        self.made.context.note(attempt)
        return attempt


@pytest.fixture
def office(made: World) -> Office:
    return Office(made)


def test_status_shows_everything(office: Office) -> None:
    office.made.context.ledger.adopt("job-1.1", Share(1.0, 100, 10))
    office.claim()
    office.made.context.board.problem("queue lab", "away")
    office.made.context.board.mark("job-1.1", "gpu-lost")
    shown = office.snapshot(Status())
    assert (shown.host, shown.lanes, shown.mode.name) == ("host-a", ("any-none",), "ready")
    assert shown.problems == {"queue lab": "away"}
    assert shown.share.cpus - shown.free.cpus == 1.0
    (attempt,) = shown.attempts
    assert (attempt.sid, attempt.n, attempt.name, attempt.state.value) == ("job-1", 1, "train", "claimed")
    assert attempt.trouble == "gpu-lost"
    assert msgspec.json.decode(msgspec.json.encode(shown), type=Snapshot) == shown


def test_ended_attempts_are_shown_with_how_they_ended(office: Office) -> None:
    attempt = office.claim().ended(Ending(Outcome.FAILED, "exit code 3", 3, 6.0, 7.0))
    office.made.context.note(attempt.on(Event.GIVE_BACK))
    (ended,) = office.snapshot(Status()).ended
    assert (ended.outcome, ended.exit_code, ended.reason) == (Outcome.FAILED, 3, "exit code 3")
    assert (ended.started_at, ended.ended_at) == (6.0, 7.0)


@pytest.mark.parametrize(("command", "name"), [(Pause("why"), "paused"), (Drain("why"), "draining")])
def test_an_agent_that_pauses_or_drains_takes_no_work_until_it_resumes(
    office: Office, command: Pause | Drain, name: str
) -> None:
    mode = office.snapshot(command).mode
    assert (mode.name, mode.reason, mode.since) == (name, "why", office.made.clock.time())
    assert not office.made.context.board.mode.takes_work
    office.made.clock.advance(5)
    mode = office.snapshot(Resume()).mode
    assert (mode.name, mode.reason, mode.since) == ("ready", None, office.made.clock.time())
    assert office.made.context.board.mode.takes_work


def test_what_runs_goes_on_while_the_agent_is_paused(office: Office) -> None:
    sid = office.made.submit("echo up; while [ ! -e go ]; do sleep 0.02; done")
    task = office.made.start_one()
    office.made.wait_for_log(sid, "up")
    (shown,) = office.snapshot(Pause()).attempts
    assert (shown.state.value, shown.stop) == ("started", None)
    office.made.tell(sid, "go")
    task.join(20)
    assert office.made.commit(sid).outcome is Outcome.SUCCEEDED


def test_a_cancelled_job_ends_and_its_wish_is_kept_for_later_attempts(office: Office) -> None:
    sid = office.made.submit("echo up; sleep 600")
    task = office.made.start_one()
    office.made.wait_for_log(sid, "up")
    (shown,) = office.snapshot(Cancel(sid)).attempts
    assert shown.stop == "cancelled"
    wish = office.made.results.cancelled(sid)
    assert wish is not None
    assert wish.by == "control socket"
    office.snapshot(Cancel(sid))
    task.join(20)
    assert office.made.commit(sid).outcome is Outcome.CANCELLED


def test_a_job_that_is_not_here_or_finished_cannot_be_cancelled(office: Office) -> None:
    assert office.refusal(Cancel("job-9")) == "job job-9 does not run here"
    attempt = office.claim().ended(Ending(Outcome.SUCCEEDED))
    office.made.context.board.wait_in_outbox(attempt, "the store is away")
    assert office.refusal(Cancel("job-1")) == "job job-1 has finished already; its results are being saved"


def test_a_wish_that_cannot_be_kept_is_an_error(office: Office) -> None:
    office.claim()
    office.made.stores.result_records.down = True
    with pytest.raises(StoreUnavailable):
        office.desk.handle(Cancel("job-1"))


def test_a_log_is_sent_from_the_offset_on(office: Office) -> None:
    office.claim()
    (office.made.directory("job-1") / "log").write_bytes(b"0123456789")
    assert office.log(Log("job-1")) == [LogPart(b"0123456789", 0), LogPart(b"", 10, end=True)]
    assert office.log(Log("job-1", offset=7)) == [LogPart(b"789", 7), LogPart(b"", 10, end=True)]
    assert office.log(Log("job-1", offset=20)) == [LogPart(b"", 20, end=True)]


def test_a_job_that_printed_nothing_yet_has_an_empty_log(office: Office) -> None:
    office.claim()
    assert office.log(Log("job-1")) == [LogPart(b"", 0, end=True)]


def test_the_log_of_a_job_that_is_not_here_is_refused(office: Office) -> None:
    assert office.refusal(Log("job-9")) == "job job-9 does not run here"
    assert office.refusal(Log("../../etc")) == "job ../../etc does not run here"


def test_a_followed_log_goes_on_until_the_job_ends(
    office: Office, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.control.desk.LOOK", 0.01)
    sid = office.made.submit("echo one; while [ ! -e go ]; do sleep 0.02; done; echo two; exec printf last")
    task = office.made.start_one()
    office.made.wait_for_log(sid, "one")
    served, heard = serve(office.desk.handle), b""
    for part in log_parts(served.state_dir, Log(sid, follow=True)):
        assert part.offset == len(heard)
        heard += part.data
        if part.data == b"one\n":
            office.made.tell(sid, "go")
    task.join(20)
    # The end of it may be saved and gone from here already: who follows reads on in the results from this offset.
    assert heard.startswith(b"one\n")
    assert office.made.artifact(sid, "log").startswith(heard)


def test_following_ends_with_the_ending_of_the_attempt(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.control.desk.LOOK", 0.01)
    attempt = office.claim()
    log = office.made.directory("job-1") / "log"
    log.write_bytes(b"one")
    answers = iter(office.desk.handle(Log("job-1", follow=True)))
    assert next(answers) == LogPart(b"one", 0)
    assert next(answers) == LogPart(b"", 3)
    log.write_bytes(b"one, two")
    assert next(answers) == LogPart(b", two", 3)
    log.write_bytes(b"one, two, three")
    office.made.context.board.wait_in_outbox(attempt.ended(Ending(Outcome.SUCCEEDED)), "waits")
    assert list(answers) == [LogPart(b", three", 8), LogPart(b"", 15, end=True)]


def test_following_ends_when_the_agent_stops(office: Office) -> None:
    office.claim()
    office.closing.set()
    assert office.log(Log("job-1", follow=True)) == [LogPart(b"", 0, end=True)]


def test_who_follows_a_silent_job_and_leaves_is_noticed(
    office: Office, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.control.desk.LOOK", 0.01)
    office.claim()
    served = serve(office.desk.handle)
    with served.connect() as connection:
        connection.sendall(b'{"type":"Log","sid":"job-1","follow":true}\n')
        wait_until(lambda: client_threads() == 1)
    wait_until(lambda: client_threads() == 0)
