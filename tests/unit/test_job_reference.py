from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
from agent.model.job import Checkpoint, Input, Job, Output, Requires
from agent.model.units import parse_duration, parse_size
from agent.toml import parse_value
from agent.wire import read_job_file

PAGE = Path(__file__).parents[2] / "agent/docs/jobs.md"
SECTIONS: dict[str, type[msgspec.Struct]] = {
    "": Job,
    "requires.": Requires,
    "inputs.": Input,
    "outputs.": Output,
    "checkpoint.": Checkpoint,
}
TABLES = {"requires", "inputs", "outputs", "checkpoint"}


def _fields() -> dict[str, Any]:
    return {
        prefix + field.encode_name: _default(field)
        for prefix, kind in SECTIONS.items()
        for field in msgspec.structs.fields(kind)
        if prefix or field.encode_name not in TABLES
    }


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default_factory() if callable(field.default_factory) else field.default


def _read(shown: str, default: Any) -> Any:
    value = parse_value(shown.strip("`"))
    if isinstance(value, str) and isinstance(default, (int, float)):
        return parse_duration(value) if isinstance(default, float) else parse_size(value)
    return tuple(value) if isinstance(value, list) else value


def test_the_page_about_jobs_names_every_key_with_its_default() -> None:
    rows = dict(re.findall(r"(?m)^\| `([a-z0-9_.]+)` \| (\S+) \|", PAGE.read_text()))
    fields = _fields()
    assert set(rows) == set(fields)
    for key, default in fields.items():
        if default in (None, msgspec.NODEFAULT):
            assert rows[key] == "-", key
        else:
            assert _read(rows[key], default) == default, key


def test_the_example_on_the_page_about_jobs_is_a_job() -> None:
    text = PAGE.read_text().partition("    edge-agent submit")[0]
    example = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    job = read_job_file(example, "example")
    assert (job.name, len(job.inputs), len(job.outputs)) == ("count-words", 1, 1)
