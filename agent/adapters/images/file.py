"""Images in files of this host or of a share it mounts: file:// URIs.

A file that anything was found out about is copied into the cache first: whoever may write it could change it between
the check and the start, and later, since the runtime reads an image as its programs need it. An open descriptor would
not help against that. One in an archive is unpacked into the cache.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from agent.adapters.files.artifacts import path_of
from agent.adapters.files.errors import unavailable
from agent.adapters.images.packed import check_image, check_pin, facts_of, starts_like_image, take_in
from agent.cache import Cache, key_of, remove
from agent.errors import ArtifactMissing, HostFault, InvalidInput
from agent.images.sif import STRICT, Rules
from agent.model.cargo import NOTHING, Cargo
from agent.model.job import Image
from agent.ports import ImageFacts

_CHUNK = 1024**2
_CLONE = 0x40049409  # FICLONE: the copy shares the blocks of the file until one of them is written
_NO_IMAGE = "not a SIF file (images are made by `apptainer build NAME.sif ...`)"
_NO_SUCH_FILE = (errno.ENOENT, errno.ENOTDIR)
_NOT_ALLOWED = (errno.EACCES, errno.EPERM)


class FileImages:
    """ImageFetcher for file:// URIs below `roots`; no roots = every path. Links are followed, then checked."""

    def __init__(
        self, roots: Sequence[Path] = (), cache: Cache | None = None, rules: Rules = STRICT, *, copied: bool = False
    ) -> None:
        """cache: where copies and images out of archives go; None = all run where they lie, an archive is no image.

        copied: all are copied, since they are checked later; else those are whose digest the job pins.
        """
        self._cache = cache
        self._rules = rules
        self._copied = copied
        self._roots = tuple(Path(os.path.realpath(root)) for root in roots)

    def facts(self, image: Image, cargo: Cargo = NOTHING) -> ImageFacts | None:
        """See ports.ImageFetcher. Whatever is no image that can be run is a problem of the image, not an error."""
        try:
            with _opened(self._path(image)) as file:
                size = os.fstat(file.fileno()).st_size
                cache = self._cache_for(image, file)
                if cache is None and not starts_like_image(file):
                    return ImageFacts(None, size, _NO_IMAGE)
                return facts_of(file, size, None if cache is None else cache.limit, self._rules)
        except ArtifactMissing:
            return None
        except InvalidInput as error:
            return ImageFacts(None, 0, str(error))

    def fetch(self, image: Image, cargo: Cargo = NOTHING) -> Path:
        """See ports.ImageFetcher: the file itself, or a copy that is this agent's own."""
        try:
            path = self._path(image)
            with _opened(path) as file:
                cache = self._cache_for(image, file)
                if cache is not None:
                    return self._own(cache, image, path, file)
            check_pin(image, path)
            check_image(image, path, self._rules)
            return path
        except InvalidInput as error:
            raise ArtifactMissing(f"image {error}") from None

    def _cache_for(self, image: Image, file: BinaryIO) -> Cache | None:
        """Return the cache that the image goes into; None when it runs where it lies."""
        needed = self._copied or image.sha256 is not None or not starts_like_image(file)
        return self._cache if needed else None

    def _own(self, cache: Cache, image: Image, path: Path, file: BinaryIO) -> Path:
        """Return a copy of the image, or what was in the archive. One is made for each version of the file."""
        about = os.fstat(file.fileno())
        if about.st_size > cache.limit:
            raise HostFault(f"{image.uri}: its {about.st_size} bytes are more than [cache] size, {cache.limit}")
        # The time of the last change of anything cannot be set by hand, unlike that of the content.
        version = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
        key = key_of("image", image.uri, *map(str, version), image.sha256 or "")

        def make(target: Path) -> None:
            stored = target.with_name(target.name + ".copy")
            try:
                _copy(path, file, stored)
                check_pin(image, stored)
                take_in(image, stored, target, cache.limit, self._rules)
            finally:
                remove(stored)

        return cache.add(key, make, size=about.st_size)

    def _path(self, image: Image) -> Path:
        path = Path(os.path.realpath(path_of(image.uri)))
        if self._roots and not any(path.is_relative_to(root) for root in self._roots):
            allowed = ", ".join(map(str, self._roots))
            raise InvalidInput(f"{image.uri} is {path}", hint=f"images must lie below {allowed}")
        return path


def _copy(path: Path, file: BinaryIO, target: Path) -> None:
    """Write the content of `file` to `target`; on file systems that can, without using room for it."""
    with target.open("wb") as copy:
        try:
            fcntl.ioctl(copy.fileno(), _CLONE, file.fileno())
        except OSError:
            copy.writelines(_pieces(path, file))


def _pieces(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """Return the content; what cannot be read is the share's fault and not the cache's."""
    try:
        file.seek(0)
        while piece := file.read(_CHUNK):
            yield piece
    except OSError as error:
        raise unavailable(error, path) from error


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
        if error.errno in _NOT_ALLOWED:  # an answer, not an outage: it would be asked for ever
            raise InvalidInput(f"{path} may not be read by the agent's user", hint="change its owner or mode") from None
        raise unavailable(error, path) from error


def _regular(path: Path, file: BinaryIO) -> BinaryIO:
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise _no_file(path)
    return file


def _no_file(path: Path) -> InvalidInput:
    return InvalidInput(f"{path} is no regular file", hint="images are SIF files: `apptainer build NAME.sif ...`")
