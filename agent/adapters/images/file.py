"""Images in files of this host or of a share it mounts: file:// URIs. One in an archive is unpacked into the cache."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from agent.adapters.files.artifacts import path_of
from agent.adapters.files.errors import unavailable
from agent.adapters.images.packed import facts_of, starts_like_image, unpack_image
from agent.cache import Cache, key_of
from agent.errors import ArtifactMismatch, ArtifactMissing, InvalidInput, StoreUnavailable
from agent.model.cargo import NOTHING, Cargo
from agent.model.job import Image
from agent.ports import ImageFacts

_CHUNK = 1024**2
_NO_IMAGE = "not a SIF file (images are made by `apptainer build NAME.sif ...`)"
_NO_SUCH_FILE = (errno.ENOENT, errno.ENOTDIR)

# Device, inode, size and time of change of a file, and its digest: what a check of its bytes is good for.
_Identity = tuple[int, int, int, int]


class FileImages:
    """ImageFetcher for file:// URIs below `roots`; no roots = every path. Links are followed, then checked."""

    def __init__(self, roots: Sequence[Path] = (), cache: Cache | None = None) -> None:
        """cache: where images go that come in an archive; None = an archive is no image."""
        self._cache = cache
        self._roots = tuple(Path(os.path.realpath(root)) for root in roots)
        self._digests: dict[_Identity, str] = {}
        self._lock = threading.Lock()

    def facts(self, image: Image, cargo: Cargo = NOTHING) -> ImageFacts | None:
        """See ports.ImageFetcher. Whatever is no image that can be run is a problem of the image, not an error."""
        try:
            path = self._path(image)
            with _opened(path) as file:
                size = os.fstat(file.fileno()).st_size
                if starts_like_image(file):
                    return facts_of(file, size, None)
                return facts_of(file, size, self._cache.limit) if self._cache else ImageFacts(None, size, _NO_IMAGE)
        except ArtifactMissing:
            return None
        except InvalidInput as error:
            return ImageFacts(None, 0, str(error))

    def fetch(self, image: Image, cargo: Cargo = NOTHING) -> Path:
        """See ports.ImageFetcher: the file itself, nothing is copied unless it is an archive."""
        try:
            path = self._path(image)
            with _opened(path) as file:
                if image.sha256 is not None:
                    self._check(image.uri, image.sha256, path, file)
                if self._cache is None or starts_like_image(file):
                    return path
                return self._unpacked(self._cache, image, file)
        except InvalidInput as error:
            raise ArtifactMissing(f"image {error}") from None

    def _unpacked(self, cache: Cache, image: Image, file: BinaryIO) -> Path:
        """Return the image out of the archive."""
        key = key_of("image", image.uri, *map(str, _identity(file)))
        try:
            return cache.add(key, lambda path: unpack_image(file, path, cache.limit))
        except ArtifactMismatch as error:
            raise ArtifactMismatch(f"image {image.uri}: {error}") from None

    def _path(self, image: Image) -> Path:
        path = Path(os.path.realpath(path_of(image.uri)))
        if self._roots and not any(path.is_relative_to(root) for root in self._roots):
            allowed = ", ".join(map(str, self._roots))
            raise InvalidInput(f"{image.uri} is {path}", hint=f"images must lie below {allowed}")
        return path

    def _check(self, uri: str, wanted: str, path: Path, file: BinaryIO) -> None:
        found = self._digest(path, file)
        if found != wanted:
            raise ArtifactMismatch(f"{uri}: its SHA-256 is {found}, not {wanted}")

    def _digest(self, path: Path, file: BinaryIO) -> str:
        """Return the digest of the file's bytes, read once as long as the file stays as it is."""
        identity = _identity(file)
        with self._lock:
            known = self._digests.get(identity)
        if known is not None:
            return known
        found = _sha256(file)
        if _identity(file) != identity:
            raise StoreUnavailable(f"{path}: it was changed while it was read; wait until the copy is done")
        with self._lock:
            self._digests[identity] = found
        return found


def _identity(file: BinaryIO) -> _Identity:
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file. Raises ArtifactMissing, InvalidInput for another kind of file, StoreUnavailable."""
    try:
        # A FIFO in the place of an image must not hold up the agent.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            yield _regular(path, file)
    except OSError as error:
        if error.errno in _NO_SUCH_FILE:
            raise ArtifactMissing(f"{path}: there is no such image") from None
        if error.errno == errno.EISDIR:
            raise _no_file(path) from None
        raise unavailable(error, path) from error


def _regular(path: Path, file: BinaryIO) -> BinaryIO:
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise _no_file(path)
    return file


def _no_file(path: Path) -> InvalidInput:
    return InvalidInput(f"{path} is no regular file", hint="images are SIF files: `apptainer build NAME.sif ...`")
