"""Metadata: lines of JSON that an experiment prints are edits of one document that describes it. Pure.

An object is merged into the document, an array is a patch after RFC 6902. A bad edit changes nothing. The document is
kept small, and so is the work on it: it is edited by whoever runs experiments.
"""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone
from typing import Any, NamedTuple, NoReturn

from agent.studioml.origin import Origin

LONGEST_LINE = 64 * 1024  # bytes; longer ones are no edits
LARGEST = 4 * 1024**2  # bytes of the document as JSON; an edit that could make it larger is left out
MAX_DEPTH = 64
# Bytes of the document, each time an edit goes over it; edits beyond that are left out. About a minute in all.
MOST_WORK = 1024**3
_SLACK = 4096  # bytes that the document may seem to have beside twice what it had when it was measured

PROTECTED = "/studioml"  # what the runner says of the experiment: patches may add to it, and nothing else
_OPERATIONS = ("add", "remove", "replace", "move", "copy", "test")
_BRACKETS = ("{}", "[]")
# What the library says of patches that do not fit, beside errors of its own; some it only trips over.
_UNFIT = (LookupError, TypeError, ValueError, AttributeError)

Object = dict[str, Any]


def directive(text: str) -> Any | None:
    """Return the object or array that a line is, None for one that is no JSON or too long."""
    text = text.strip()
    if text[:1] + text[-1:] not in _BRACKETS or not 2 < len(text) <= LONGEST_LINE:
        return None
    if len(text.encode("utf-8", errors="replace")) > LONGEST_LINE:
        return None
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    return value if _levels(value) <= MAX_DEPTH else None


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large")
    return number


def of_start(origin: Origin, host: str, started_at: float | None) -> Object:
    """Return what the runner says of an experiment at its start, as an edit. started_at: None = it has not."""
    experiment = {"key": origin.experiment, "project": origin.project}
    artifacts = {tag: artifact.qualified for tag, artifact in origin.artifacts.items()}
    times = {} if started_at is None else {"start_time": _time(started_at)}
    return {"studioml": {"experiment": _known(experiment), "artifacts": _known(artifacts), "host": host, **times}}


def of_end(ended_at: float) -> Object:
    """Return what the runner says of an experiment at its end, as an edit."""
    return {"studioml": {"stop_time": _time(ended_at)}}


def _known(fields: dict[str, str | None]) -> Object:
    return {key: value for key, value in fields.items() if value is not None}


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="microseconds")


class _Extent(NamedTuple):
    """At most how large a document is: bytes as JSON, levels of nesting."""

    size: int
    levels: int

    @property
    def is_allowed(self) -> bool:
        return self.size <= LARGEST and self.levels <= MAX_DEPTH


class Document:
    """The document of one experiment, empty at first. Nothing raises."""

    def __init__(self) -> None:
        self._content: Object = {}
        self._extent = self._measured = _extent_of({})
        self._work = MOST_WORK

    def line(self, text: str) -> None:
        """Apply a line that was printed, if it is an edit."""
        edit = directive(text)
        if edit is not None:
            self.apply(edit)

    def apply(self, edit: Any) -> None:
        """Apply an edit, as `directive` returns it; parts of it become parts of the document."""
        operations = edit if isinstance(edit, list) else None
        if operations is not None and not _is_patch(operations):
            return
        grown = self._room_for(edit)
        if grown is None:
            return
        if operations is None:
            _merge(self._content, edit)
        elif not self._patch(operations):
            return
        self._extent = grown
        if grown.size > 2 * self._measured.size + _SLACK:
            self._measure()

    def as_json(self) -> bytes:
        """Return the document as JSON; b"{}" when nothing is in it."""
        return _encoded(self._content)

    def _room_for(self, edit: Any) -> _Extent | None:
        """Return how large the document may be afterwards, None when that is too large."""
        grown = _grown(self._extent, edit)
        if not grown.is_allowed and self._measure():
            grown = _grown(self._extent, edit)
        return grown if grown.is_allowed else None

    def _measure(self) -> bool:
        """Find out how large it is: what is known without is an upper bound only, edits may have made it smaller."""
        if not self._spend(self._extent.size):
            return False
        self._extent = self._measured = _extent_of(self._content)
        return True

    def _patch(self, operations: list[Object]) -> bool:
        """Apply all operations, or none: False."""
        if not self._spend(sum(_cost(operation, self._extent.size) for operation in operations)):
            return False
        import jsonpatch  # by few jobs only
        from jsonpointer import JsonPointerException

        try:
            jsonpatch.JsonPatch(operations).apply(self._content, in_place=True, atomic=True)
        except (jsonpatch.JsonPatchException, JsonPointerException, *_UNFIT):
            return False
        return True

    def _spend(self, work: int) -> bool:
        if work > self._work:
            return False
        self._work -= work
        return True


def _merge(content: Object, edit: Object) -> None:
    """Objects are merged member by member, other values replace what was there; null replaces no object."""
    for key, value in edit.items():
        old = content.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            _merge(old, value)
        elif not (isinstance(old, dict) and value is None):
            content[key] = value


# --- patches --------------------------------------------------------------------------------------------------------


def _is_patch(operations: list[Any]) -> bool:
    """Say whether these are operations of RFC 6902 that experiments may use."""
    return all(isinstance(operation, dict) and _is_allowed(operation) for operation in operations)


def _is_allowed(operation: Object) -> bool:
    kind = operation.get("op")
    named = [operation.get(key) for key in (("path", "from") if kind in ("move", "copy") else ("path",))]
    paths = [path for path in named if isinstance(path, str)]
    if kind not in _OPERATIONS or paths != named:
        return False
    if paths[0] == "" and kind != "test":
        return False  # the document as a whole, with what is protected in it
    return kind == "add" or not any(path.lower().startswith(PROTECTED) for path in paths)


def _cost(operation: Object, size: int) -> int:
    """Return the bytes of the document that an operation may go over; most need the siblings of one value only."""
    return size if operation["op"] in ("test", "copy") else 1 + size // 8


# --- how large ------------------------------------------------------------------------------------------------------


def _grown(extent: _Extent, edit: Any) -> _Extent:
    """Return how large a document is at most after the edit. Cheap: the document itself is not looked at."""
    size, levels = extent.size + len(_encoded(edit)), extent.levels
    if isinstance(edit, dict):
        return _Extent(size, max(levels, _levels(edit)))
    for operation in edit:
        if operation["op"] == "copy":
            size = min(2 * size, 2 * LARGEST)  # of the whole document, perhaps
        levels = max(levels, _levels_below(operation, levels))
    return _Extent(size, levels)


def _levels_below(operation: Object, levels: int) -> int:
    """Return at which level of nesting the operation puts something."""
    above = operation["path"].count("/")
    if operation["op"] in ("move", "copy"):
        return int(above + max(0, levels - operation["from"].count("/")))
    return int(above + _levels(operation.get("value")))


def _extent_of(content: Object) -> _Extent:
    return _Extent(len(_encoded(content)), _levels(content))


def _encoded(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _levels(value: Any) -> int:
    """Return how deep the arrays and objects in a value are nested: 0 for a value that is neither."""
    levels, layer = 0, [value]
    while layer := [each for each in layer if isinstance(each, (dict, list))]:
        levels += 1
        layer = [below for each in layer for below in (each.values() if isinstance(each, dict) else each)]
    return levels
