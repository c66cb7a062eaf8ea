"""A disk with a cache that a power cut empties: what was written and not flushed may be lost, all or in part.

QEMU reaches it as a network block device (NBD) on a unix socket. Blocks that wait for a flush are kept in memory.
"""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
from pathlib import Path

SECTOR = 512
BLOCK = 8  # sectors that a cut loses or keeps together
_MAGIC, _OPTION, _OPTION_REPLY = b"NBDMAGIC", b"IHAVEOPT", 0x3E889045565A9
_REQUEST, _REPLY = 0x25609513, 0x67446698
_FIXED_NEWSTYLE, _NO_ZEROES = 1, 2
_HAS_FLAGS, _SEND_FLUSH, _SEND_FUA = 1, 4, 8
_FLAGS = _HAS_FLAGS | _SEND_FLUSH | _SEND_FUA
_EXPORT_NAME, _ABORT, _INFO, _GO = 1, 2, 6, 7
_ACK, _EXPORT_INFO, _UNSUPPORTED = 1, 3, 2**31 + 1
_READ, _WRITE, _DISCONNECT, _FLUSH = 0, 1, 2, 3
_FUA = 1  # flag of a write: flushed when it is answered


class VolatileDisk:
    """The disk in the file `image`. One machine is connected at a time."""

    def __init__(self, image: Path, address: Path) -> None:
        self._file = os.open(image, os.O_RDWR | os.O_CLOEXEC)
        self._size = os.fstat(self._file).st_size
        self._cache: dict[int, bytes] = {}
        self._lock = threading.Lock()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(address))
        self._server.listen()
        self._left: int | None = None
        self.flushes = 0
        self.is_off = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def cut_after(self, writes: int) -> None:
        """Let the power fail after so many more writes: the last one and all that follows get no answer."""
        with self._lock:
            self._left = writes

    def lose(self, choose: random.Random) -> int:
        """Lose blocks of the cache as a power cut does, those that `choose` picks; return their number.

        The machine has to be off. The next one that is connected has power again.
        """
        with self._lock:
            self._left = None
            self.is_off.clear()
            blocks = sorted({sector // BLOCK for sector in self._cache})
            share = choose.choice((0.3, 0.7, 1.0))
            lost = {block for block in blocks if choose.random() < share}
            self._cache = {sector: data for sector, data in self._cache.items() if sector // BLOCK not in lost}
            self._flush()
            return len(lost)

    def close(self) -> None:
        """Serve no more."""
        self._server.close()
        os.close(self._file)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                try:
                    if self._negotiated(connection, stream.read):
                        self._transmit(connection, stream.read)
                except (OSError, struct.error):
                    continue  # the machine was killed

    def _negotiated(self, connection: socket.socket, read: object) -> bool:
        assert callable(read)
        connection.sendall(_MAGIC + _OPTION + struct.pack(">H", _FIXED_NEWSTYLE | _NO_ZEROES))
        read(4)
        while True:
            magic, option, length = struct.unpack(">8sII", read(16))
            assert magic == _OPTION
            read(length)
            if option == _EXPORT_NAME:
                connection.sendall(struct.pack(">QH", self._size, _FLAGS))
                return True
            if option in (_INFO, _GO):
                _answer(connection, option, _EXPORT_INFO, struct.pack(">HQH", 0, self._size, _FLAGS))
                _answer(connection, option, _ACK)
                if option == _GO:
                    return True
                continue
            _answer(connection, option, _ACK if option == _ABORT else _UNSUPPORTED)
            if option == _ABORT:
                return False

    def _transmit(self, connection: socket.socket, read: object) -> None:
        assert callable(read)
        while True:
            magic, flags, kind, handle, offset, length = struct.unpack(">IHHQQI", read(28))
            assert magic == _REQUEST
            data = read(length) if kind == _WRITE else b""
            if kind == _DISCONNECT:
                return
            with self._lock:
                answer = self._done(kind, offset, length, data, fua=bool(flags & _FUA))
                if kind == _WRITE and self._left is not None:
                    self._left -= 1
                    if self._left <= 0:
                        self.is_off.set()
            if self.is_off.is_set():
                read(1)  # nothing comes but the end of the machine
                return
            connection.sendall(struct.pack(">IIQ", _REPLY, 0, handle) + answer)

    def _done(self, kind: int, offset: int, length: int, data: bytes, *, fua: bool) -> bytes:
        sectors = range(offset // SECTOR, (offset + length) // SECTOR)
        if kind == _READ:
            stored = os.pread(self._file, length, offset)
            pieces = ((sector, stored[n * SECTOR : (n + 1) * SECTOR]) for n, sector in enumerate(sectors))
            return b"".join(self._cache.get(sector, piece) for sector, piece in pieces)
        if kind == _WRITE:
            for n, sector in enumerate(sectors):
                self._cache[sector] = data[n * SECTOR : (n + 1) * SECTOR]
            if fua:
                self._store(sectors)
        elif kind == _FLUSH:
            self.flushes += 1
            self._flush()
        return b""

    def _flush(self) -> None:
        self._store(tuple(self._cache))

    def _store(self, sectors: range | tuple[int, ...]) -> None:
        for sector in sectors:
            os.pwrite(self._file, self._cache.pop(sector), sector * SECTOR)


def _answer(connection: socket.socket, option: int, kind: int, data: bytes = b"") -> None:
    connection.sendall(struct.pack(">QIII", _OPTION_REPLY, option, kind, len(data)) + data)
