"""The variables of an experiment: its client's, then those that StudioML jobs look for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agent.studioml.fields import Fields

# What %PATH% stands for where the operator says nothing: clients write "%PATH%:./bin" and mean more, not less.
STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOME = "STUDIOML_HOME"
_OPEN_PATH = "%PATH%"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_PLACEHOLDER = re.compile(r"%([A-Za-z_][A-Za-z0-9_]*)%", re.ASCII)
_THREADS = ("GOTO_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def of_client(config: Fields, values: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that `config.env` sets. Raises Dropped.

    %NAME% becomes the value that the operator gives it, and stays where there is none. Scalars become texts, null is
    left out. Nothing is expanded by a shell.
    """
    table = config.table("env", secret=True)
    found = {} if table is None else {name: _text(table, name) for name in table if table[name] is not None}
    return {
        name: _PLACEHOLDER.sub(lambda match: values.get(match[1]) or match[0], text) for name, text in found.items()
    }


def _text(table: Fields, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise table.wrong(name, "the name of a variable: letters, digits and '_', not starting with a digit")
    value = table[name]
    if isinstance(value, (dict, list)):
        raise table.wrong(name, "a text or a number")
    return str(value)


def of_job(client: Mapping[str, str], experiment: str, requires: Mapping[str, Any], in_image: bool) -> dict[str, str]:
    """Return all variables of the job. experiment: the name of its directory; requires: as in the native job.

    A PATH that adds to one that nobody here knows is added to the usual one; an image keeps its own instead, as it
    always did.
    Not set: STUDIOML_ARTIFACT_MAPPING, without which clients look beside their working directory, where artifacts are;
    LC_ALL and LD_LIBRARY_PATH, which an image knows better; AWS_SDK_LOAD_CONFIG, as a job sees nobody's configuration.
    Granted GPUs are named by who starts the job.
    """
    variables = {name: value for name, value in client.items() if name != HOME}
    if _OPEN_PATH in variables.get("PATH", ""):
        path = variables.pop("PATH")
        variables |= {} if in_image else {"PATH": path.replace(_OPEN_PATH, STANDARD_PATH)}
    variables |= {"STUDIOML_EXPERIMENT": experiment, "PYTHONUNBUFFERED": "TRUE"}
    if requires["cpus"] > 1:
        threads = str(max(1, int(requires["cpus"]) - 1))
        variables |= {"OPENMP": "True", **dict.fromkeys(_THREADS, threads)}
    if "gpus" not in requires:
        variables |= {"CUDA_VISIBLE_DEVICES": "-1", "NVIDIA_VISIBLE_DEVICES": "-1"}
    return variables
