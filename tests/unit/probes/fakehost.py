"""A host whose files and answers are given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class FakeHost:
    """The Host port over a table of files and one of answers."""

    def __init__(self, files: Mapping[str, str | bytes] | None = None, **queries: Any) -> None:
        self._files = dict(files or {})
        self._queries = {name.replace("_", "-"): answer for name, answer in queries.items()}

    def read(self, path: str) -> bytes | None:
        content = self._files.get(path)
        return content.encode() if isinstance(content, str) else content

    def list(self, path: str) -> tuple[str, ...]:
        below = path.rstrip("/") + "/"
        names = {file[len(below) :].split("/")[0] for file in self._files if file.startswith(below)}
        return tuple(sorted(names))

    def query(self, name: str) -> Any:
        return self._queries.get(name)
