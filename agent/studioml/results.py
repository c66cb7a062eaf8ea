"""The artifact `_results`: one file that says how an experiment ended and what it left behind."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

from agent.model.cargo import Cargo, Compression
from agent.model.records import Outcome
from agent.ports import Watched
from agent.studioml.origin import Origin, Tagged
from agent.transfer.beneath import open_beneath
from agent.transfer.compress import compressed

NAME = "_results.json"
# Ends that leave results; after any other there are none to be looked for.
ENDS = (Outcome.SUCCEEDED, Outcome.TIMED_OUT, Outcome.CANCELLED)
_COMPRESSIONS: dict[str, Compression] = {".gz": "gzip", ".tgz": "gzip", ".bz2": "bzip2", ".xz": "xz"}


def document(attempt: Watched, origin: Origin) -> dict[str, Any]:
    """Return what the file says of an attempt that ended. Reads which of its directories are empty."""
    return {
        "exit_msg": "ok" if attempt.outcome is Outcome.SUCCEEDED else reason_of(attempt),
        "experiment_id": origin.experiment,
        "host": attempt.host,
        "artifacts": {tag: {"name": tag} for tag in sorted(_left_behind(attempt, origin))},
    }


def reason_of(attempt: Watched) -> str:
    """Return the sentence that says why it ended."""
    return attempt.reason or (attempt.outcome.value if attempt.outcome else "unknown")


def archive(content: dict[str, Any], uri: str, at: float) -> Iterable[bytes]:
    """Return the archive with the file, compressed as the end of the URI says. at: seconds since the epoch."""
    body = json.dumps(content, indent=2).encode()
    member = tarfile.TarInfo(NAME)
    member.size, member.mtime = len(body), int(at)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(member, io.BytesIO(body))
    return compressed([packed.getvalue()], _COMPRESSIONS.get(PurePosixPath(uri).suffix, "none"))


def _left_behind(attempt: Watched, origin: Origin) -> Iterator[str]:
    for tag, artifact in origin.artifacts.items():
        if artifact.mutable and tag != "_metadata" and _has_content(attempt, artifact):
            yield tag


def _has_content(attempt: Watched, artifact: Tagged) -> bool:
    if artifact.path is None:
        return False
    if _has_log(attempt.cargo, artifact.path) and (attempt.directory / "log").exists():
        return True
    try:
        descriptor = open_beneath(attempt.directory / "work", artifact.path)
    except FileNotFoundError:  # it ended before it had a directory
        return False
    if descriptor is None:
        return False
    try:
        return _is_filled(descriptor)
    finally:
        os.close(descriptor)


def _is_filled(descriptor: int) -> bool:
    try:
        return bool(os.listdir(descriptor))
    except NotADirectoryError:  # a file in its place
        return True


def _has_log(cargo: Cargo, path: str) -> bool:
    return cargo.log is not None and str(PurePosixPath(cargo.log).parent) == path
