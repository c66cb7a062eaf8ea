"""The record of an experiment in its client's database, as client tools show it. Written with the fields it had."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from agent.errors import JobFault
from agent.studioml.objects import Objects
from agent.studioml.origin import Origin

LARGEST = 16 * 1024**2  # bytes
STOPPED = "stopped"

Fields = dict[str, Any]


def record_uri(origin: Origin) -> str | None:
    """Return where the record is; None for a database of a kind that is out of reach."""
    if origin.database.type != "s3" or origin.database.uri is None:
        return None
    return f"{origin.database.uri}experiments/{quote(origin.experiment)}"


class StatusRecord:
    """The record of one experiment. Both methods raise JobFault and Unavailable."""

    def __init__(self, objects: Objects, uri: str) -> None:
        self._objects = objects
        self._uri = uri

    def stop_wanted(self) -> bool:
        """Say whether somebody wants the experiment to end."""
        record = self._read()
        return record is not None and is_stopped(record)

    def change(self, change: Callable[[Fields], Fields]) -> None:
        """Write the record as `change` returns it; nothing when there is none or nothing changes."""
        record = self._read()
        if record is None:
            return
        try:
            changed = change(record)
            text = None if changed == record else json.dumps(changed).encode()
        except RecursionError:
            raise JobFault(f"{self._uri}: nested too deep") from None
        if text is not None:
            self._objects.write(self._uri, [text])

    def _read(self) -> Fields | None:
        with self._objects.fetched(self._uri, LARGEST) as file:
            if file is None:
                return None
            try:
                record = json.load(file)
            except (ValueError, RecursionError):
                raise JobFault(f"{self._uri}: not JSON") from None
        if not isinstance(record, dict):
            raise JobFault(f"{self._uri}: not a JSON object")
        return record


def is_stopped(record: Fields) -> bool:
    """Say whether a record, or a status file, has the status of an experiment that shall end."""
    status = record.get("status")
    return isinstance(status, str) and status.lower() == STOPPED


def running(record: Fields, started_at: float | None) -> Fields:
    """A wish to stop stays: it is heard soon."""
    status = STOPPED if is_stopped(record) else "running"
    return {**record, "status": status, "time_started": started_at}


def saved(record: Fields, at: float) -> Fields:
    """Only the time: whoever reads it looks for newer files."""
    return {**record, "time_last_checkpoint": at}


def waiting(record: Fields) -> Fields:
    """As it was before the attempt that was given back: the experiment is in its queue again."""
    return record if is_stopped(record) else {**record, "status": "waiting", "time_started": None}


def finished(record: Fields, at: float) -> Fields:
    """Over, however it ended: clients know no other word for it."""
    return {**record, "status": "finished", "time_finished": at}
