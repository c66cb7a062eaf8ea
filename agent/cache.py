"""One cache of content below one directory: images, inputs that never change, virtual environments.

<root>/entries/<key>     a file or a directory, whole
<root>/making/           what is being made, or was when its maker was killed: removed before the next making

A key says what the content is: `key_of` makes one of a URI and whatever tells its content from another. One process
makes entries; others may look.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import secrets
import shutil
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from agent.errors import disk_fault
from agent.ports import Clock

log = logging.getLogger(__name__)

YOUNG = 600.0
_KEY = re.compile(r"[0-9a-f]{32,64}")
_FULL = (errno.ENOSPC, errno.EDQUOT)


def key_of(*parts: str) -> str:
    """Return the key of the content that the parts describe together."""
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()


def linked(attempts: Path) -> Callable[[], Iterator[Path]]:
    """Return what finds the paths that the attempts below this directory use: where their `image` links lead."""

    def found() -> Iterator[Path]:
        for link in attempts.glob("*/image"):
            with contextlib.suppress(OSError):  # the attempt ended meanwhile
                yield link.readlink()

    return found


class Cache:
    """Keeps at most `limit` bytes; the entry that was used least recently goes first.

    An entry stays that is in use, and one that was used in the last `young` seconds: whoever got it may not have said
    so yet. So the limit may be exceeded for a while.
    """

    def __init__(
        self,
        root: Path,
        limit: Callable[[], int],
        in_use: Callable[[], Iterable[Path]],
        clock: Clock,
        young: float = YOUNG,
    ) -> None:
        """limit: bytes, asked anew each time; in_use: paths of entries, or below them, that must stay."""
        self._entries = root / "entries"
        self._making = root / "making"
        self._limit = limit
        self._in_use = in_use
        self._clock = clock
        self._young = young
        self._lock = threading.RLock()  # of the fields below, and of what is called what
        self._makers: dict[str, tuple[threading.Lock, int]] = {}
        self._sizes: dict[str, int] = {}
        self._used: dict[str, float] = {}
        self._is_clean = False
        self._made_here = threading.local()

    @property
    def made_here(self) -> int:
        """Bytes of all files that the calling thread has made entries of; what programs install elsewhere is none."""
        return getattr(self._made_here, "size", 0)

    @property
    def limit(self) -> int:
        """Bytes that the cache may hold now."""
        return self._limit()

    def find(self, key: str) -> Path | None:
        """Return the path of the entry, which counts as used now; None when there is none."""
        path = self._path(key)
        with self._lock:
            if not path.exists() or self._mark(key).exists():
                return None
            self._touch(key)
        return path

    def add(self, key: str, make: Callable[[Path], object], *, size: int = 0, in_place: bool = False) -> Path:
        """Return the path of the entry, made unless it is there. Wanted twice at once, it is made once.

        make: writes a file or a directory at the path it gets; what it raises goes through, and nothing is left then.
        size: bytes it is known to need, room for which is made first. in_place: it gets the path that the entry will
        have, for content that knows where it lies. Raises HostFault when the disk is full or cannot be written.
        """
        with self._making_of(key):
            found = self.find(key)
            if found is not None:
                return found
            with self._disk_faults():
                self._prepare(size)
                return self._made_in_place(key, make) if in_place else self._made(make, lambda: key)

    def put(self, make: Callable[[Path], str], *, size: int = 0) -> Path:
        """Make an entry whose key only its making tells, and return its path; one of the same key is replaced."""
        with self._disk_faults():
            self._prepare(size)
            told: list[str] = []
            return self._made(lambda path: told.append(make(path)), lambda: told[0])

    # --- making ---

    def _made(self, make: Callable[[Path], object], key: Callable[[], str]) -> Path:
        part = self._making / secrets.token_hex(12)
        try:
            make(part)
            _close(part)
            self._take_in(part, key())
        finally:
            remove(part)
        return self._keep(key())

    def _take_in(self, part: Path, key: str) -> None:
        path = self._path(key)
        with self._lock:
            if path.is_dir():
                path.rename(self._making / secrets.token_hex(12))
            part.rename(path)
            self._touch(key)
        _sync(self._entries)

    def _made_in_place(self, key: str, make: Callable[[Path], object]) -> Path:
        path, mark = self._path(key), self._mark(key)
        mark.touch()
        _sync(self._making)
        try:
            make(path)
            _close(path)
            _sync(self._entries)
        except BaseException:
            remove(path)
            mark.unlink()
            raise
        self._touch(key)
        mark.unlink()
        return self._keep(key)

    def _keep(self, key: str) -> Path:
        path = self._path(key)
        size = size_of(path)
        if path.is_file():
            self._made_here.size = self.made_here + size
        with self._lock:
            self._sizes[key] = size
            self._shrink(self._limit())
        return path

    @contextlib.contextmanager
    def _making_of(self, key: str) -> Iterator[None]:
        """One maker at a time for each key."""
        with self._lock:
            lock, waiting = self._makers.get(key, (threading.Lock(), 0))
            self._makers[key] = (lock, waiting + 1)
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, waiting = self._makers.pop(key)
                if waiting > 1:
                    self._makers[key] = (lock, waiting - 1)

    @contextlib.contextmanager
    def _disk_faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                self._shrink(0)
            words = (error.strerror or str(error)).lower()
            remedy = "free space there or lower [cache] size" if error.errno in _FULL else "mend the disk or its rights"
            what = f"the cache {self._entries.parent} cannot be written: {words}; {remedy}"
            raise disk_fault(error, what) from error

    def _prepare(self, size: int) -> None:
        with self._lock:
            if not self._is_clean:
                self._clean()
            self._shrink(self._limit() - size)

    def _clean(self) -> None:
        """Make the directories, and remove what makers that were killed have left."""
        for directory in (self._entries, self._making):
            directory.mkdir(parents=True, mode=0o700, exist_ok=True)
        for left in self._making.iterdir():
            if left.suffix == ".mark":
                remove(self._entries / left.stem)
            remove(left)
        self._is_clean = True

    # --- keeping within the limit ---

    def _shrink(self, size: int) -> None:
        """Remove entries until all of them have no more than `size` bytes, as far as they may go."""
        with self._lock:
            sizes = {path.name: self._size(path) for path in self._finished()}
            total = sum(sizes.values())
            if total <= size:
                return
            used = frozenset(self._names_in_use())
            for name in sorted(sizes, key=self._last_use):
                if total <= size:
                    return
                if name not in used and not self._is_young(name):
                    self._evict(name)
                    total -= sizes[name]

    def _finished(self) -> list[Path]:
        with contextlib.suppress(FileNotFoundError):
            return [path for path in self._entries.iterdir() if not self._mark(path.name).exists()]
        return []

    def _size(self, path: Path) -> int:
        if path.name not in self._sizes:
            self._sizes[path.name] = size_of(path)
        return self._sizes[path.name]

    def _names_in_use(self) -> Iterator[str]:
        for path in self._in_use():
            if path.is_relative_to(self._entries) and path != self._entries:
                yield path.relative_to(self._entries).parts[0]

    def _last_use(self, name: str) -> int:
        with contextlib.suppress(OSError):
            return (self._entries / name).stat().st_atime_ns
        return 0

    def _is_young(self, name: str) -> bool:
        used = self._used.get(name)
        return used is not None and self._clock.boottime() - used < self._young

    def _evict(self, name: str) -> None:
        gone = self._making / secrets.token_hex(12)
        try:
            (self._entries / name).rename(gone)
            remove(gone)
        except OSError as error:
            log.warning("cannot be removed", extra={"event": "cache-stuck", "entry": name, "reason": str(error)})
            return
        self._sizes.pop(name, None)
        self._used.pop(name, None)
        log.info("removed from the cache", extra={"event": "cache-evicted", "entry": name})

    def _touch(self, key: str) -> None:
        self._used[key] = self._clock.boottime()
        path = self._path(key)
        with contextlib.suppress(OSError):
            # Set by hand: a mount with noatime does not, and an order of use is wanted over restarts.
            os.utime(path, ns=(int(self._clock.time() * 1e9), path.stat().st_mtime_ns))

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no key of a cache")
        return self._entries / key

    def _mark(self, key: str) -> Path:
        """Says that the entry is being made where it lies."""
        return self._making / f"{key}.mark"


def size_of(path: Path) -> int:
    """Return the bytes of the file, or of all files below the directory; links count as nothing."""
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    total = 0
    for folder, _folders, files in os.walk(path):
        for name in files:
            with contextlib.suppress(OSError):
                found = Path(folder, name).lstat()
                total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total


def remove(path: Path) -> None:
    """Remove the file or directory, whatever the rights on what is in it; nothing happens when there is none."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    try:
        shutil.rmtree(path)
    except PermissionError:
        path.chmod(stat.S_IRWXU)
        for folder, folders, _files in os.walk(path):
            for name in folders:
                if not Path(folder, name).is_symlink():
                    Path(folder, name).chmod(stat.S_IRWXU)
        shutil.rmtree(path)


def _close(path: Path) -> None:
    """Make what was made durable, and a file read-only: those who get it only read it."""
    if not path.is_dir():
        path.chmod(0o444)
        _sync(path)
        return
    # An environment has thousands of files: one by one, a slow card would take minutes for them.
    os.sync()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
