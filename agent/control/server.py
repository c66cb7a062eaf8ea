"""The agent's side of the control socket."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from agent.control.protocol import LINE_LIMIT, SOCKET, Answer, AnyCommand, RefusedCommand, at_short_path, new_socket
from agent.errors import EdgeAgentError

log = logging.getLogger(__name__)

HANGING = 10.0  # seconds a client may take to say what it wants, or to take what it asked for
MOST_CLIENTS = 32


class Server:
    """Accepts connections until it is closed; every command goes to `handle`, which yields the answers."""

    def __init__(self, state_dir: Path, handle: Callable[[AnyCommand], Iterable[Answer]]) -> None:
        """Raises OSError when the socket cannot be made."""
        self._handle = handle
        self._listener = new_socket()
        self._clients = threading.Semaphore(MOST_CLIENTS)
        (state_dir / SOCKET).unlink(missing_ok=True)
        before = os.umask(0o117)
        try:
            at_short_path(state_dir, self._listener.bind)
        finally:
            os.umask(before)
        self._listener.listen(MOST_CLIENTS)

    def serve(self) -> None:
        """Serve until `close`."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._clients.acquire()
            threading.Thread(target=self._talk, args=(connection,), name="control-client", daemon=True).start()

    def close(self) -> None:
        """Stop serving; connections that are open end by themselves."""
        # shutdown wakes the thread that is blocked in accept; close alone would not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _talk(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.settimeout(HANGING)
                with connection.makefile("rb") as lines:
                    for answer in self._answers(lines.readline(LINE_LIMIT)):
                        connection.sendall(msgspec.json.encode(answer) + b"\n")
        except OSError as error:
            log.debug("control client went away", extra={"event": "control-client-gone", "reason": str(error)})
        finally:
            self._clients.release()

    def _answers(self, line: bytes) -> Iterable[Answer]:
        try:
            command = msgspec.json.decode(line, type=AnyCommand)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return (RefusedCommand(f"not a command of this version: {error}"),)
        try:
            return self._handle(command)
        except EdgeAgentError as error:
            return (RefusedCommand(str(error)),)
