"""Recording a host: a Host that notes what probes ask, scrubbed, and writes it so that a RecordedHost can answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any

from agent import __version__
from agent.adapters.forms import FORMS
from agent.errors import HostFault, InvalidInput
from agent.ports import Host
from agent.probes.scrub import restore_path, scrub_answer, scrub_file, scrub_names

_HOST_NAME = "/proc/sys/kernel/hostname"
_PROVENANCE = "_provenance.json"
_VERBATIM, _SCRUBBED, _NAME_ONLY = "verbatim", "scrubbed", "reconstructed"


class Recording:
    """A Host over `host` that answers as a recording of it will, and each question the same way each time."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._host_name = (host.read(_HOST_NAME) or b"").decode(errors="replace").strip()
        self._files: dict[str, bytes | None] = {}
        self._names: dict[str, tuple[str, ...]] = {}
        self._answers: dict[str, Any] = {}
        self._kinds: dict[str, str] = {}

    def read(self, path: str) -> bytes | None:
        """See ports.Host."""
        if path not in self._files:
            content = self._host.read(restore_path(path, self._host_name))
            kept = None if content is None else scrub_file(path, content, self._host_name)
            self._files[path] = kept
            self._kinds[path] = _kind(content, kept)
        return self._files[path]

    def list(self, path: str) -> tuple[str, ...]:
        """See ports.Host."""
        if path not in self._names:
            self._names[path] = scrub_names(path, self._host.list(restore_path(path, self._host_name)))
        return self._names[path]

    def query(self, name: str) -> Any:
        """See ports.Host."""
        if name not in self._answers:
            answer = self._host.query(name)
            kept = scrub_answer(name, answer, self._host_name)
            self._answers[name] = kept
            self._kinds[f"/{FORMS[name].file}"] = _kind(answer, kept)
        return self._answers[name]

    def save(self, directory: Path) -> int:
        """Write the recording into `directory`, which `prepare` made; return the number of its files.

        Raises HostFault when it cannot be written.
        """
        contents = {**self._contents(), **self._recorded_answers()}
        kinds = {path: self._kinds.get(path, _NAME_ONLY) for path in sorted(contents)}
        try:
            for folder in self._folders(contents):
                _below(directory, folder).mkdir(parents=True, exist_ok=True)
            for path, content in contents.items():
                target = _below(directory, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            (directory / _PROVENANCE).write_text(_provenance(kinds))
        except OSError as error:
            raise HostFault(f"{error.filename or directory}: {error.strerror}") from None
        return len(contents)

    def _contents(self) -> dict[str, bytes]:
        """Return the files; an empty one stands for an entry of a directory that nobody looked at."""
        read = {path: content for path, content in self._files.items() if content is not None}
        known = {*self._files, *self._folders(read)}
        return {**dict.fromkeys(self._entries() - known, b""), **read}

    def _folders(self, contents: Mapping[str, bytes]) -> set[str]:
        """Return the directories: those above files, those listed, and entries that cannot be read as files."""
        entries = self._entries()
        listed = {path for path, names in self._names.items() if names or path in entries}
        above = {str(parent) for path in contents for parent in PurePosixPath(path).parents}
        return (listed | above | entries.intersection(self._files)) - contents.keys()

    def _entries(self) -> set[str]:
        return {f"{path.rstrip('/')}/{name}" for path, names in self._names.items() for name in names}

    def _recorded_answers(self) -> dict[str, bytes]:
        known = {name: answer for name, answer in self._answers.items() if answer is not None}
        return {f"/{FORMS[name].file}": FORMS[name].dump(answer).encode() for name, answer in known.items()}


def _kind(found: Any, kept: Any) -> str:
    return _VERBATIM if found == kept else _SCRUBBED


def _below(directory: Path, path: str) -> Path:
    return directory / path.lstrip("/")


def _provenance(kinds: Mapping[str, str]) -> str:
    when = datetime.now(timezone.utc).isoformat(timespec="seconds")
    source = f"edge-agent {__version__}, {when}"
    rows = [{"path": path.lstrip("/"), "kind": kind, "source": source} for path, kind in kinds.items()]
    return json.dumps(rows, indent=1) + "\n"


def prepare(directory: Path) -> None:
    """Make the directory of a recording. Raises InvalidInput for one that cannot be made, and one that is not empty."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        taken = any(directory.iterdir())
    except OSError as error:
        raise InvalidInput(f"{directory}: {error.strerror}", source="--record", hint="name a new directory") from None
    if taken:
        raise InvalidInput(f"{directory} is not empty", source="--record", hint="name a new directory")
