"""Who hears from the jobs themselves that they run, whatever the product says of them."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path


class Witness:
    """A server on 127.0.0.1:`port` that writes each line "SID ATTEMPT WORD" down before it says "ok"."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._told: set[tuple[str, int, str]] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="witness", daemon=True).start()

    def told(self) -> frozenset[tuple[str, int, str]]:
        """Return all that was told: (sid, attempt, word)."""
        with self._lock:
            return frozenset(self._told)

    def close(self) -> None:
        """Hear no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._hear, args=(connection,), name="witness", daemon=True).start()

    def _hear(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rw") as stream:
            words = stream.readline().split()
            if len(words) != 3 or not words[1].isdigit():
                return
            with self._lock, self._file.open("a") as file:
                file.write(" ".join(words) + "\n")
                self._told.add((words[0], int(words[1]), words[2]))
            stream.write("ok\n")
            stream.flush()
