"""The commands' side of the control socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from agent.control.protocol import Answer, Command, Log, LogPart, RefusedCommand, Snapshot, at_short_path, new_socket
from agent.errors import AgentUnreachable, NotFound

TIMEOUT = 10.0


def ask(state_dir: Path, command: Command) -> Snapshot:
    """Return the agent's answer. Raises AgentUnreachable when none runs here, NotFound when it cannot do it."""
    answer = next(_answers(state_dir, command, TIMEOUT))
    if isinstance(answer, RefusedCommand):
        raise NotFound(answer.message)
    if not isinstance(answer, Snapshot):
        raise AgentUnreachable(f"the agent in {state_dir} answers in another version's words")
    return answer


def log_parts(state_dir: Path, command: Log) -> Iterator[LogPart]:
    """Yield the parts of a job's log as they come. Raises like `ask`."""
    for answer in _answers(state_dir, command, None if command.follow else TIMEOUT):
        if isinstance(answer, RefusedCommand):
            raise NotFound(answer.message)
        if isinstance(answer, LogPart):
            yield answer
            if answer.end:
                return


def _answers(state_dir: Path, command: Command, timeout: float | None) -> Iterator[Answer]:
    try:
        with new_socket() as connection:
            connection.settimeout(TIMEOUT)
            at_short_path(state_dir, connection.connect)
            connection.sendall(msgspec.json.encode(command) + b"\n")
            connection.settimeout(timeout)
            with connection.makefile("rb") as lines:
                for line in lines:
                    yield msgspec.json.decode(line, type=Answer)
    except (OSError, msgspec.DecodeError) as error:
        raise AgentUnreachable(f"no agent answers in {state_dir} ({_why(error)}); start one: edge-agent run") from None
    raise AgentUnreachable(f"the agent in {state_dir} closed the connection; it may just be stopping")


def _why(error: Exception) -> str:
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return "none runs there"
    if isinstance(error, PermissionError):
        return "you may not open its socket"
    return str(error)
