"""Images that may come in an archive: clients of StudioML send the file of an image as the one file of a tar."""

from __future__ import annotations

import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from agent.cache import remove
from agent.errors import ArtifactMismatch, EdgeAgentError, InvalidInput, JobFault, UnsafeArchive
from agent.images.formats import HEAD, is_image, read_image
from agent.images.sif import STRICT, Rules, SifFacts
from agent.model.job import Image
from agent.ports import ImageFacts
from agent.transfer.sniff import as_tar
from agent.transfer.stream import Digested, chunks
from agent.transfer.untrusted import members_of, open_tar

_START = 4096
_DAMAGED = (tarfile.TarError, EOFError, TypeError, ValueError, OSError, zlib.error, lzma.LZMAError)
_ZIP = b"PK"
_NO_IMAGE = "make images by `apptainer build NAME.sif ...`"


class Packed(NamedTuple):
    """A member of an archive: its bytes, and how many there are."""

    content: BinaryIO
    size: int


def facts_of(stream: BinaryIO, size: int, limit: int | None, rules: Rules = STRICT) -> ImageFacts:
    """Return the facts of the image that begins here, in an archive or not; `size` bytes are stored of it.

    Reads no more than is needed. limit: bytes that an image may have, None = any. Raises what the stream does.
    """
    try:
        found = _facts(stream, size, rules)
    except (InvalidInput, JobFault) as error:
        return ImageFacts(None, size, str(error))
    if found.problem is None and limit is not None and found.size > limit:
        return ImageFacts(found.arch, found.size, f"its {found.size} bytes are more than [cache] size, {limit}")
    return ImageFacts(found.arch, found.size, found.problem)


def _facts(stream: BinaryIO, size: int, rules: Rules) -> SifFacts:
    start = read_fully(stream, _START)
    if is_image(start):
        return read_image(io.BytesIO(start + read_fully(stream, HEAD - len(start))), size, rules)
    if start.startswith(_ZIP):
        raise InvalidInput("a zip archive, whose list of files is at its end", hint="send the image itself, or a tar")
    whole = _Joined(start, stream)
    with _tar_of(whole) as archive:  # type: ignore[arg-type]
        member = next(_files(archive), None)
        if member is None:
            raise InvalidInput("an archive without a file in it", hint=_NO_IMAGE)
        return read_image(io.BytesIO(read_fully(member.content, HEAD)), member.size, rules)


def starts_like_image(file: BinaryIO) -> bool:
    """Say whether a seekable file is an image itself; it is back at its beginning then."""
    file.seek(0)
    start = file.read(_START)
    file.seek(0)
    return is_image(start)


def take_in(image: Image, stored: Path, target: Path, limit: int, rules: Rules = STRICT) -> None:
    """Make `target` of what was stored on the way, which goes: an image, or an archive with one in it.

    Raises ArtifactMismatch for what is no image that can be run, or has more than `limit` bytes.
    """
    try:
        with stored.open("rb") as file:
            packed = not starts_like_image(file)
            if packed:
                _unpack(image, file, target, limit)
        check_image(image, target if packed else stored, rules)
        if not packed:
            stored.replace(target)
    finally:
        remove(stored)


def _unpack(image: Image, file: BinaryIO, target: Path, limit: int) -> None:
    """Write the image in the archive `file` (seekable) to `target`."""
    try:
        _write_only_file(file, target, limit)
    except InvalidInput as error:
        raise ArtifactMismatch(f"image {image.uri}: {error}") from None


def _write_only_file(file: BinaryIO, target: Path, limit: int) -> None:
    with _tar_of(file) as archive:
        members = _files(archive)
        found = next(members, None)
        if found is None:
            raise InvalidInput("no image, and an archive without a file in it")
        if found.size > limit:
            raise InvalidInput(f"the image in the archive has {found.size} bytes, more than {limit}")
        with target.open("wb") as output:
            output.writelines(chunks(found.content))
        if next(members, None) is not None:
            raise InvalidInput("an archive with more than one file, so which one is the image?")


def check_image(image: Image, path: Path, rules: Rules = STRICT) -> None:
    """Raise ArtifactMismatch when the image in a file cannot be run."""
    try:
        with path.open("rb") as file:
            problem = read_image(file, rules=rules).problem
    except InvalidInput as error:
        problem = str(error)
    if problem is not None:
        raise ArtifactMismatch(f"image {image.uri}: {problem}")


def check_pin(image: Image, path: Path) -> None:
    """Raise ArtifactMismatch when the job pins a digest that the file does not have."""
    if image.sha256 is None:
        return
    with path.open("rb") as file:
        content = Digested(chunks(file))
        for _ in content:
            pass
    if content.sha256 != image.sha256:
        raise ArtifactMismatch(f"{image.uri}: its SHA-256 is {content.sha256}, not {image.sha256}")


@contextmanager
def _tar_of(file: BinaryIO) -> Iterator[tarfile.TarFile]:
    """Open the archive in a file, or in what begins like one. Raises InvalidInput for what is none, or damaged."""
    try:
        with as_tar(file) as stream, open_tar(stream) as archive:
            yield archive
    except EdgeAgentError as error:
        if isinstance(error, UnsafeArchive):
            raise InvalidInput(f"no image: {error}", hint=_NO_IMAGE) from None
        raise
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InvalidInput(f"neither an image nor a readable archive with one: {error}", hint=_NO_IMAGE) from None


def _files(archive: tarfile.TarFile) -> Iterator[Packed]:
    for member in members_of(archive):
        content = archive.extractfile(member) if member.isreg() else None
        if content is not None:
            yield Packed(content, member.size)  # type: ignore[arg-type]


class _Joined:
    """A stream whose first bytes were read already; it can go back as long as nothing beyond them was read."""

    def __init__(self, start: bytes, rest: BinaryIO) -> None:
        self._start = start
        self._rest = rest
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes; fewer only at the end."""
        if size < 0:
            return self._start[self._at :] + self._rest.read()
        found = self._start[self._at : self._at + size]
        self._at += len(found)
        return found + read_fully(self._rest, size - len(found))

    def seek(self, position: int) -> int:
        """Go back to the beginning, which is all that a reader of archives wants."""
        if position or self._at > len(self._start):
            raise io.UnsupportedOperation("seek")
        self._at = 0
        return 0


def read_fully(stream: BinaryIO, size: int) -> bytes:
    """Return `size` bytes; fewer only at the end."""
    pieces = []
    while size > 0 and (piece := stream.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
