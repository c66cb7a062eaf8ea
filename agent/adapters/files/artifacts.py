"""Artifacts as files: file:// URIs below the directories that the operator allowed.

The paths come from jobs, and jobs may leave symbolic links behind. So what counts is where an opened file or
directory really lies (/proc/self/fd), and it is looked at before anything is read, made or written.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote_to_bytes, urlsplit

from agent.adapters.files.errors import translated
from agent.adapters.files.placing import sync_directory, write_all
from agent.errors import ArtifactMissing, InvalidInput
from agent.ports import ArtifactInfo

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_PART = ".edge-agent-part-"
_LEFTOVER_SECONDS = 86400.0
_CHUNK_BYTES = 1024**2
_COPY_RANGE_BYTES = 1024**3
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_COPY_RANGE = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM, errno.EBADF)


class FileArtifacts:
    """An ArtifactStore for file:// URIs below `roots`; every method raises InvalidInput for any other URI."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(roots)

    def stat(self, uri: str) -> ArtifactInfo | None:
        """Return size and version of the file, or None when there is no such regular file."""
        path = self._path(uri)
        with translated(path):
            located = self._locate(uri, path)
            if located is None:
                return None
            try:
                return _info(os.fstat(located))
            finally:
                os.close(located)

    def open(self, uri: str) -> BinaryIO:
        """Return a stream of the file, which raises StoreUnavailable as well. Raises ArtifactMissing."""
        return io.BufferedReader(_Reader(self._open_file(uri), self._path(uri)), _CHUNK_BYTES)

    def write(self, uri: str, chunks: Iterable[bytes]) -> None:
        """Store the chunks as the file, which appears when it is complete and durable."""
        path = self._path(uri)
        with self._new_file(uri, path) as target:
            for chunk in chunks:
                with translated(path):
                    write_all(target, chunk)

    def copy(self, source: str, target: str) -> None:
        """Copy a file; the file system shares the blocks or copies them itself where it can."""
        path = self._path(target)
        descriptor = self._open_file(source)
        try:
            with self._new_file(target, path) as new, translated(path):
                _copy(descriptor, new)
        finally:
            os.close(descriptor)

    def _path(self, uri: str) -> Path:
        path = path_of(uri)
        if not any(path.is_relative_to(root) for root in self._roots):
            allowed = ", ".join(map(str, self._roots)) or "none"
            raise InvalidInput(f'"{uri}" is outside the allowed directories', hint=f"allowed: {allowed}")
        return path

    def _locate(self, uri: str, path: Path) -> int | None:
        """Return an O_PATH descriptor of the regular file, which touches nothing; None when there is none."""
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            self._root_of(path).stat()
            return None
        try:
            self._check_beneath(uri, descriptor)
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                found, descriptor = descriptor, -1
                return found
            return None
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _open_file(self, uri: str) -> int:
        path = self._path(uri)
        with translated(path):
            located = self._locate(uri, path)
            if located is None:
                raise ArtifactMissing(f"{uri}: there is no such file")
            try:
                return os.open(f"/proc/self/fd/{located}", os.O_RDONLY | os.O_CLOEXEC)
            finally:
                os.close(located)

    def _root_of(self, path: Path) -> Path:
        above = [root for root in self._roots if path.is_relative_to(root)]
        return max(above, key=lambda root: len(root.parts))

    def _check_beneath(self, uri: str, descriptor: int) -> None:
        real = Path(f"/proc/self/fd/{descriptor}").readlink()
        if not any(real.is_relative_to(root.resolve()) for root in self._roots):
            raise InvalidInput(f'"{uri}" leads out of the allowed directories by a symbolic link')

    @contextmanager
    def _new_file(self, uri: str, path: Path) -> Iterator[int]:
        """Give a descriptor to write to; what was written takes the name `path` unless the block raises."""
        with translated(path):
            parent = self._open_parent(uri, path)
        try:
            name = _PART + secrets.token_hex(12)
            with translated(path):
                _remove_leftovers(parent)
                descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=parent)
            try:
                yield descriptor
                with translated(path):
                    os.fsync(descriptor)
                    os.rename(name, path.name, src_dir_fd=parent, dst_dir_fd=parent)
                    sync_directory(parent)
            finally:
                os.close(descriptor)
                with suppress(OSError):  # gone when it has its name
                    os.unlink(name, dir_fd=parent)
        finally:
            os.close(parent)

    def _open_parent(self, uri: str, path: Path) -> int:
        """Return a descriptor of the directory of `path`, made where it is missing below the root."""
        root = self._root_of(path)
        if path == root:
            raise InvalidInput(f'"{uri}" is a directory', hint="name a file in it")
        parent = os.open(root, _DIRECTORY)
        for part in path.relative_to(root).parts[:-1]:
            try:
                child = _open_or_make(parent, part)
            finally:
                os.close(parent)
            parent = child
            try:
                self._check_beneath(uri, parent)
            except (InvalidInput, OSError):
                os.close(parent)
                raise
        return parent


def _info(found: os.stat_result) -> ArtifactInfo:
    return ArtifactInfo(found.st_size, f"{found.st_dev}-{found.st_ino}-{found.st_mtime_ns}")


def path_of(uri: str) -> Path:
    """Return the absolute path that a file:// URI names. Raises InvalidInput."""
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        raise InvalidInput(f'"{uri}" is no file URI of this host', hint='such as "file:///srv/data/train.csv"')
    if parts.query or parts.fragment or uri.endswith(("?", "#")):
        raise InvalidInput(f'"{uri}" has a query or a fragment', hint="write %3F for ? and %23 for #")
    names = [unquote_to_bytes(part) for part in parts.path.split("/")]
    unsafe = any(name == b".." or b"/" in name or b"\0" in name for name in names)
    if unsafe or not parts.path.startswith("/"):
        raise InvalidInput(f'"{uri}" is no plain absolute path', hint="without .., %2F and %00")
    return Path("/", *(os.fsdecode(name) for name in names))


class _Reader(io.FileIO):
    """A file opened for reading whose errors are the agent's."""

    def __init__(self, descriptor: int, path: Path) -> None:
        super().__init__(descriptor, "rb")
        self._path = path

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        with translated(self._path):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with translated(self._path):
            return super().readall()


def _open_or_make(parent: int, name: str) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=parent)
            sync_directory(parent)
        return os.open(name, _DIRECTORY, dir_fd=parent)


def _remove_leftovers(directory: int) -> None:
    """Remove parts in the directory that writers which were killed left behind long ago."""
    for name in os.listdir(directory):
        with suppress(FileNotFoundError):
            if name.startswith(_PART) and _is_old(os.stat(name, dir_fd=directory, follow_symlinks=False)):
                os.unlink(name, dir_fd=directory)


def _is_old(found: os.stat_result) -> bool:
    return time.time() - found.st_mtime > _LEFTOVER_SECONDS


def _copy(source: int, target: int) -> None:
    try:
        while os.copy_file_range(source, target, _COPY_RANGE_BYTES):
            pass
    except OSError as error:
        if error.errno not in _NO_COPY_RANGE:
            raise
    # Both offsets stand where the kernel stopped: at the end, or where it could not go on.
    while chunk := os.read(source, _CHUNK_BYTES):
        write_all(target, chunk)
