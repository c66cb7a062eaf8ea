"""Log lines: text for people on a terminal, one JSON object a line for services.

A call is a fixed sentence with fields: `log.info("job claimed", extra={"event": "job-claimed", "sid": sid})`.
Sentence, fields and tracebacks go through `redact` before they are written, whoever logged them.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone
from typing import Any, TextIO

from agent import redact

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "event", "taskName"}


def setup_logging(level: str, form: str, stream: TextIO | None = None) -> None:
    """Send all log records to `stream` (standard error if None). level: debug, info, ...; form: text or json.

    Libraries are heard from `warning` on. Calling it again replaces what was set up before.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("agent").setLevel(level.upper())


class JsonFormatter(logging.Formatter):
    """One JSON object: time (UTC), level, logger, event, message, the fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line = {
            "time": _time(record).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": getattr(record, "event", None),
            "message": redact.mask_text(record.getMessage()),
        }
        line.update({key: value for key, value in _fields(record).items() if key not in line})
        if record.exc_info:
            line["exception"] = redact.mask_text(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=_text)


class TextFormatter(logging.Formatter):
    """`12:04:31 warning  the sentence  sid=...  host=...`, control characters visible; then the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line for people."""
        local = _time(record).astimezone()
        fields = [f"{key}={_shown(value)}" for key, value in _fields(record).items()]
        sentence = _visible(redact.mask_text(record.getMessage()))
        line = "  ".join([f"{local:%H:%M:%S} {record.levelname.lower():<7}", sentence, *fields])
        if record.exc_info:
            line += "\n" + redact.mask_text(self.formatException(record.exc_info))
        return line


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, timezone.utc)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return what the call gave as `extra`, masked."""
    extra = {key: value for key, value in vars(record).items() if key not in _STANDARD}
    masked: dict[str, Any] = redact.mask_data(extra)
    return masked


def _text(value: object) -> str:
    return redact.mask_text(str(value))


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=_text)
    return json.dumps(text, ensure_ascii=False) if " " in text or not text else _visible(text)


def _visible(text: str) -> str:
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
