"""The job's output: read from one pipe, written as it came, up to a limit, and drained whatever happens."""

from __future__ import annotations

import os

from agent.supervisor import files

CHUNK_BYTES = 65536


class JobLog:
    """Copies `source` (a non-blocking pipe) into `path`; what cannot be written is still read and counted.

    `seen_bytes` counts everything the job wrote; `truncated` says that the file holds less than that.
    """

    def __init__(self, path: str, source: int, limit_bytes: int) -> None:
        self.source = source
        self.seen_bytes = 0
        self.truncated = False
        self.ended = False
        self._limit = limit_bytes
        self._kept = 0
        self._lost = 0
        self._limited = False
        self._in_line = False
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def copy(self) -> bool:
        """Copy one chunk; False when nothing is there now, or nothing ever more (`ended`)."""
        try:
            chunk = os.read(self.source, CHUNK_BYTES)
        except BlockingIOError:
            return False
        self.ended = not chunk
        self._take(chunk)
        return not self.ended

    def drain(self) -> None:
        """Copy until the pipe is empty; ends only if no writer is left."""
        while self.copy():
            pass

    def close(self) -> None:
        """Make the log durable. A disk that fails here has cost log lines, and must not cost the result."""
        try:
            os.fsync(self._file)
        except OSError:
            self.truncated = True
        os.close(self._file)
        os.close(self.source)

    def _take(self, chunk: bytes) -> None:
        self.seen_bytes += len(chunk)
        kept = chunk[: self._limit - self._kept]
        if kept:
            self._kept += len(kept)
            self._in_line = not kept.endswith(b"\n")
            self._append(kept)
        if len(kept) < len(chunk) and not self._limited:
            self._limited = self.truncated = True
            self._append(b"\n" * self._in_line + b"[log truncated after %d bytes]\n" % self._limit)

    def _append(self, data: bytes) -> None:
        note = b"\n[%d bytes of log lost: the disk was full]\n" % self._lost if self._lost else b""
        try:
            files.write_all(self._file, note + data)
            self._lost = 0
        except OSError:
            self._lost += len(data)
            self.truncated = True
