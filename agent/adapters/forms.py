"""The recorded form of each query's answer: in which file of a recording it lies, and how it is written there."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec


class Form(NamedTuple):
    """`file` below the recording, `dump` an answer to its text, `load` a text to the answer, None for a broken one."""

    file: str
    dump: Callable[[Any], str]
    load: Callable[[str], Any]


def parse_table(text: str) -> dict[str, Any] | None:
    """Return a JSON object; None for anything else."""
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return table if isinstance(table, dict) else None


def _number(text: str) -> int | None:
    return int(text) if text.strip().isdecimal() else None


def _bytes(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None


def _text(name: str) -> Form:
    return Form(f"_cmd/{name}.txt", "{}\n".format, str.strip)


def _count(name: str) -> Form:
    return Form(f"_cmd/{name}.txt", "{}\n".format, _number)


def _json(name: str, kind: Any) -> Form:
    """A value of the type `kind`, which a stranger's file may fail to hold."""

    def load(text: str) -> Any:
        try:
            return msgspec.json.decode(text, type=kind)
        except msgspec.DecodeError:
            return None

    return Form(f"_cmd/{name}.txt", lambda answer: json.dumps(answer) + "\n", load)


def _lines(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FORMS = {
    "uname-m": _text("uname-m"),
    "uname-r": _text("uname-r"),
    "elf": Form("_cmd/elf.txt", lambda answer: answer.hex() + "\n", _bytes),
    "dpkg-architecture": _text("dpkg-print-architecture"),
    "long-bit": _count("getconf-LONG_BIT"),
    "affinity": _json("affinity", tuple[int, ...]),
    "page-size": _count("getconf-PAGESIZE"),
    "statvfs": _json("statvfs", tuple[str, int, int]),
    "nvpmodel": _text("nvpmodel-q"),
    "throttled": _text("vcgencmd-get_throttled"),
    "dev-nodes": Form("_dev_list.txt", lambda answer: "".join(f"{node}\n" for node in answer), _lines),
    "denied-nodes": Form("_cmd/denied-nodes.txt", lambda answer: "".join(f"{node}\n" for node in answer), _lines),
    "nvml": Form("_nvml.json", lambda answer: json.dumps(answer, indent=1) + "\n", parse_table),
    "runtime-elf": Form("_cmd/runtime-elf.txt", lambda answer: answer.hex() + "\n", _bytes),
    "aarch32": _json("aarch32", bool),
    "runtime-version": _text("apptainer-version"),
    "uid": _count("uid"),
    "setuid-starter": _json("setuid-starter", bool),
    "fuse": _text("fuse"),
    "unshare": _text("unshare"),
    "limits-test": _json("limits-test", dict[str, str]),
}
