"""A TCP proxy that does to connections what networks do: cut them, refuse them, slow them down, swallow everything."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

_CHUNK = 64 * 1024


class Proxy:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`target_port`, while it may.

    with Proxy(target) as proxy: ... ; restore() undoes cut(), silence() and delay(). What silence() swallowed is lost:
    after restore() connections from before stay dead, as behind a router that forgot them.
    """

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._lock = threading.Lock()
        self._pairs: set[_Pair] = set()
        self._silent = False
        self._delay = 0.0
        self._drop_at: int | None = None
        self.answered = 0  # bytes that have come back from the target
        self._closed = threading.Event()
        self._listener: socket.socket | None = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._serve(self._listener)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *about: object) -> None:
        self.close()

    def cut(self) -> None:
        """Break every connection and refuse new ones."""
        with self._lock:
            listener, self._listener = self._listener, None
            pairs = tuple(self._pairs)
        if listener is not None:
            _end(listener)
        for pair in pairs:
            pair.break_off()

    def silence(self) -> None:
        """Take everything and answer nothing, on connections old and new."""
        with self._lock:
            self._silent = True
            for pair in self._pairs:
                pair.dead.set()

    def delay(self, seconds: float) -> None:
        """Hold back every piece of data for so long, each way."""
        with self._lock:
            self._delay = seconds

    def restore(self) -> None:
        """Be a good network again."""
        with self._lock:
            self._silent, self._delay = False, 0.0
            if self._listener is not None:
                return
            listener = self._listener = socket.create_server(("127.0.0.1", self.port))
        self._serve(listener)

    def drop(self) -> None:
        """Break every connection there is, and take new ones."""
        with self._lock:
            pairs = tuple(self._pairs)
        for pair in pairs:
            pair.break_off()

    def drop_after(self, size: int) -> None:
        """Break the connection on which so many more bytes have come back, once."""
        with self._lock:
            self._drop_at = self.answered + size

    @property
    def connections(self) -> int:
        """How many connections are open."""
        with self._lock:
            return len(self._pairs)

    def close(self) -> None:
        """End everything."""
        self._closed.set()
        self.cut()

    def _serve(self, listener: socket.socket) -> None:
        threading.Thread(target=self._accept, args=(listener,), name="proxy", daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                self._take(client)

    def _take(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target, timeout=5)
            server.settimeout(None)
        except OSError:
            _reset(client)
            return
        pair = _Pair(client, server)
        with self._lock:
            if self._silent:
                pair.dead.set()
            self._pairs.add(pair)
            cut = self._listener is None
        if cut:
            pair.break_off()
        for source, target, back in ((client, server, False), (server, client, True)):
            threading.Thread(target=self._pump, args=(pair, source, target, back), name="proxy", daemon=True).start()

    def _pump(self, pair: _Pair, source: socket.socket, target: socket.socket, back: bool) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                if self._delay:
                    self._closed.wait(self._delay)
                if not pair.dead.is_set():
                    target.sendall(data)
                if back and self._is_enough(len(data)):
                    break
        # On a dead connection nobody hears that the other side has gone.
        if not pair.dead.is_set():
            pair.break_off()
            with self._lock:
                self._pairs.discard(pair)

    def _is_enough(self, size: int) -> bool:
        """Count what came back; say whether the connection is to break now."""
        with self._lock:
            self.answered += size
            if self._drop_at is None or self.answered < self._drop_at:
                return False
            self._drop_at = None
            return True


class _Pair:
    """The two connections of one client. dead: nothing passes any more."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._client = client
        self._server = server
        self.dead = threading.Event()

    def break_off(self) -> None:
        _end(self._client)
        _end(self._server)


def _end(connection: socket.socket) -> None:
    """Close so that a thread that reads or accepts there notices."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def _reset(connection: socket.socket) -> None:
    """Close with RST, as where nobody listens."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    connection.close()
