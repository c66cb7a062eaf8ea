"""Archives in the form that a kernel unpacks as its first file system ("newc")."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO

_MAGIC = b"070701"
_TRAILER = "TRAILER!!!"
_WORD = 4


class Cpio:
    """Writes members to `file`, each with its parents, all owned by root."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._names: set[str] = set()

    def add_directory(self, name: str) -> None:
        self._member(name, stat.S_IFDIR | 0o755)

    def add_file(self, name: str, content: bytes, mode: int = 0o644, mtime: int = 0) -> None:
        self._member(name, stat.S_IFREG | mode, content, mtime)

    def add_link(self, name: str, target: str) -> None:
        self._member(name, stat.S_IFLNK | 0o777, target.encode())

    def add_device(self, name: str, major: int, minor: int) -> None:
        self._member(name, stat.S_IFCHR | 0o600, device=(major, minor))

    def copy(self, source: Path, name: str | None = None) -> None:
        """Add a file of this host, under its own path unless told; what a link leads to in place of the link."""
        found = source.stat()
        self.add_file(name or str(source), source.read_bytes(), stat.S_IMODE(found.st_mode), int(found.st_mtime))

    def copy_tree(self, source: Path, name: str, without: frozenset[str] = frozenset()) -> None:
        """Add a directory of this host, but for files and directories called as one in `without`."""
        for place, folders, files in os.walk(source):
            folders[:] = [each for each in folders if each not in without]
            for each in files:
                if each not in without:
                    path = Path(place, each)
                    self.copy(path, f"{name}/{path.relative_to(source)}")

    def close(self) -> None:
        self._write(_TRAILER, 0, b"", 0, (0, 0))

    def _member(
        self, name: str, mode: int, content: bytes = b"", mtime: int = 0, device: tuple[int, int] = (0, 0)
    ) -> None:
        name = name.strip("/")
        if name in self._names:
            return
        parent = name.rpartition("/")[0]
        if parent:
            self.add_directory(parent)
        self._names.add(name)
        self._write(name, mode, content, mtime, device)

    def _write(self, name: str, mode: int, content: bytes, mtime: int, device: tuple[int, int]) -> None:
        path = name.encode() + b"\0"
        numbers = (len(self._names), mode, 0, 0, 1, mtime, len(content), 0, 0, *device, len(path), 0)
        head = _MAGIC + b"".join(b"%08x" % number for number in numbers) + path
        for part in (head, content):
            self._file.write(part + b"\0" * (-len(part) % _WORD))
