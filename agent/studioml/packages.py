"""The Python that an experiment wants: its version, and the packages of a virtual environment."""

from __future__ import annotations

import re
from collections.abc import Iterable

from agent.errors import Dropped
from agent.model.cargo import Venv
from agent.studioml.fields import Fields, shown

_VERSION = re.compile(r"\d{1,3}(?:\.\d{1,3}){0,2}", re.ASCII)
_TENSORFLOW = re.compile(r"tensorflow\s*==\s*((\d{1,4})\.(\d{1,4}).*)", re.ASCII)
# As a number, 3.10 has lost its end.
_CUT_OFF = ("3.1", "3.2")
_EDITABLE = ("-e ", "-e\t", "--editable ", "--editable=")
# The last one of tensorflow_gpu with content; by then tensorflow used GPUs by itself.
_LAST_TENSORFLOW_GPU = (2, 11)


def version(experiment: Fields) -> str:
    """Return the version of Python: "3.11", "3"; "" where none is named. Raises Dropped."""
    value = experiment["pythonver"]
    if value is None or value == "":
        return ""
    text = str(value).strip() if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""
    if isinstance(value, float) and text in _CUT_OFF:
        text += "0"
    if not _VERSION.fullmatch(text):
        raise experiment.wrong("pythonver", 'a version such as "3.11" or 3')
    return text


def interpreter(wanted: str) -> str:
    """Return the name of the interpreter in an image."""
    return "python3" if wanted.startswith("3") else "python"


def venv(experiment: Fields, config: Fields, wants_gpus: bool) -> Venv:
    """Return the environment that an experiment without an image runs in. Raises Dropped.

    `studioml==` is the package of that version, whatever the workspace has below dist/: what is installed is known
    before any workspace is there, so that environments can be kept and shared.
    """
    frozen = tuple(_lines(experiment, "pythonenv"))
    requirements = tuple(line for line in frozen if not _plain(line).startswith("pkg-resources"))
    if wants_gpus and not any(_plain(line).startswith("tensorflow-gpu") for line in requirements):
        requirements = tuple(map(_for_gpus, requirements))
    return Venv(version(experiment), requirements, tuple(_lines(config, "pip")))


def _lines(fields: Fields, name: str) -> Iterable[str]:
    path = f"{fields.path}.{name}"
    for text in fields.texts(name):
        line = text.strip()
        if not line.isprintable():
            raise Dropped(f"{path}: a text with line breaks", hint="one requirement in each text")
        if line.startswith("-") and not line.startswith(_EDITABLE):
            raise Dropped(
                f"{path}: {shown(line.split()[0])}", hint='a requirement such as "numpy==1.26.4"; no option but -e'
            )
        if line and not line.startswith("#"):
            yield line


def _plain(line: str) -> str:
    return line.lower().replace("_", "-")


def _for_gpus(line: str) -> str:
    match = _TENSORFLOW.fullmatch(line)
    if match is None or (int(match[2]), int(match[3])) > _LAST_TENSORFLOW_GPU:
        return line
    return f"tensorflow_gpu=={match[1]}"
