"""A support bundle: what somebody needs who shall find out from afar what is wrong with a host, and no secret.

Every member passes through `redact`, and values that are known to be secrets are cut out wherever they stand.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from agent.errors import InvalidInput
from agent.redact import MASK, mask_data, mask_text

MEMBER_BYTES, BUNDLE_BYTES = 1024**2, 16 * 1024**2
# Shorter ones would be found by chance in what is no secret.
_SHORTEST_SECRET = 6


class Member(NamedTuple):
    """One file of the bundle: its name in it, how many bytes it has, and what is to be said of it."""

    name: str
    bytes: int
    note: str = ""


class Bundle:
    """Collects members. secrets: values that must not be in any of them, by whatever name."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first: one may be a part of another.
        self._secrets = sorted({each for each in secrets if len(each) >= _SHORTEST_SECRET}, key=len, reverse=True)
        self._contents: dict[str, bytes] = {}
        self._members: list[Member] = []

    @property
    def members(self) -> tuple[Member, ...]:
        """What is inside, in the order in which it came."""
        return tuple(self._members)

    def add_json(self, name: str, value: Any) -> None:
        """Add plain data or msgspec structures."""
        text = json.dumps(mask_data(msgspec.to_builtins(value)), indent=2, ensure_ascii=False)
        self._add(name, self._clean(text).encode(), keep_end=False)

    def add_text(self, name: str, text: str) -> None:
        """Add text; of one that is too long the end, which is the newest of a log."""
        self._add(name, self._clean(mask_text(text)).encode(), keep_end=True)

    def add_file(self, name: str, content: bytes) -> None:
        """Add the content of a file; what is no text is left as it is, but for known secrets."""
        try:
            self._add(name, self._clean(mask_text(content.decode())).encode(), keep_end=True)
        except UnicodeDecodeError:
            for secret in self._secrets:
                content = content.replace(secret.encode(), MASK.encode())
            self._add(name, content, keep_end=True)

    def save(self, path: Path, time: int) -> None:
        """Write the bundle for its owner only; time: of its members, in seconds since the epoch.

        Raises InvalidInput when there is a file already, or none can be written.
        """
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for name, content in self._contents.items():
                entry = tarfile.TarInfo(f"edge-agent-support/{name}")
                entry.size, entry.mode, entry.mtime = len(content), 0o600, time
                archive.addfile(entry, io.BytesIO(content))
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(packed.getvalue())
        except OSError as error:
            raise InvalidInput(f"{path}: {error.strerror}", source="--out", hint="name a new file") from None

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
            # As it stands in JSON, where quotes and backslashes have one more.
            text = text.replace(json.dumps(secret, ensure_ascii=False)[1:-1], MASK)
        return text

    def _add(self, name: str, content: bytes, *, keep_end: bool) -> None:
        note = ""
        if len(content) > MEMBER_BYTES:
            note = f"{'the last' if keep_end else 'the first'} {MEMBER_BYTES} of {len(content)} bytes"
            content = content[-MEMBER_BYTES:] if keep_end else content[:MEMBER_BYTES]
        if sum(map(len, self._contents.values())) + len(content) > BUNDLE_BYTES:
            self._members.append(Member(name, 0, "left out: the bundle would be too large"))
            return
        self._contents[name] = content
        self._members.append(Member(name, len(content), note))
