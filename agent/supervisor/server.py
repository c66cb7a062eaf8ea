"""Lines in, lines out over non-blocking sockets, so that no client can hold up another."""

from __future__ import annotations

import select

from agent.supervisor import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from typing import Any

CHUNK_BYTES = 65536


class Connection:
    """One client. A request is taken once the answer before it has left; `awaited` while one is worked on."""

    def __init__(self, stream: socket.socket) -> None:
        stream.setblocking(False)
        self._stream = stream
        self._inbox = bytearray()
        self._outbox = bytearray()
        self._leaving = False
        self.closed = False
        self.awaited = False

    @property
    def fd(self) -> int:
        return self._stream.fileno()

    @property
    def events(self) -> int:
        """What to poll for; with no bits set, only a hang-up is told."""
        if self._outbox:
            return select.POLLOUT
        return 0 if self.awaited else select.POLLIN

    def receive(self, event: int) -> None:
        """Take what poll() told. Afterwards `next_line` may have a request."""
        if self._outbox:
            self._flush()
        elif self.awaited and event & (select.POLLHUP | select.POLLERR):
            self.close()
        elif not self.awaited:
            self._read()

    def next_line(self) -> bytes | None:
        """The next complete request line, or None: not there yet, or an answer is still due."""
        if self.closed or self.awaited or self._outbox or self._leaving:
            return None
        line, newline, rest = self._inbox.partition(b"\n")
        if newline:
            self._inbox = rest
            return bytes(line)
        if len(self._inbox) > protocol.LINE_LIMIT_BYTES:
            self._refuse_endless_line()
        return None

    def send(self, message: Mapping[str, Any]) -> None:
        self.awaited = False
        if not self.closed:
            self._outbox += protocol.encode(message)
            self._flush()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._stream.close()

    def _read(self) -> None:
        try:
            chunk = self._stream.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if chunk:
            self._inbox += chunk
        else:
            self.close()

    def _flush(self) -> None:
        try:
            del self._outbox[: self._stream.send(self._outbox)]
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if self._leaving and not self._outbox:
            self.close()

    def _refuse_endless_line(self) -> None:
        self._leaving = True
        self._inbox.clear()
        self.send({"ok": False, "error": f"the line is longer than {protocol.LINE_LIMIT_BYTES} bytes"})
