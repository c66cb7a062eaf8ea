"""Requests to read in tests: recorded ones, with changes."""

from __future__ import annotations

import copy
import json
from typing import Any

from agent.errors import Dropped
from agent.model.cargo import Cargo, Decoded
from agent.studioml.origin import Origin, origin_of
from agent.studioml.reading import Reading
from agent.studioml.request import decode

from tests.studioml_keys import VECTORS

READING = Reading(queue="lab")
HOST = "127.0.0.1:5185"
KEYS = {"access_key": "AKIAEDGE", "secret_key": "secretEDGE", "region": "us-west-2"}


def body(name: str) -> bytes:
    """Return a recorded message."""
    return (VECTORS / f"{name}.json").read_bytes()


def table(name: str = "01_plain") -> dict[str, Any]:
    """Return a recorded clear request as plain data, to be changed."""
    return dict(json.loads(body(name)))


def read(request: dict[str, Any], reading: Reading = READING) -> Decoded:
    """Return what a request of plain data becomes."""
    return decode(json.dumps(request).encode(), reading)


def changed(path: str, value: Any, name: str = "01_plain") -> dict[str, Any]:
    """Return a recorded request with another value at the dotted path; `...` removes what is there."""
    request = copy.deepcopy(table(name))
    *parents, last = path.split(".")
    place = request
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return request


def read_changed(path: str, value: Any, name: str = "01_plain", reading: Reading = READING) -> Decoded:
    """Return what a recorded request becomes with another value at the dotted path."""
    return read(changed(path, value, name), reading)


def refusal(request: dict[str, Any], reading: Reading = READING) -> Dropped:
    """Return why a request is dropped."""
    try:
        decoded = read(request, reading)
    except Dropped as error:
        return error
    raise AssertionError(f"it runs: {decoded.job}")


def origin(cargo: object) -> Origin:
    """Return the origin of a cargo."""
    assert isinstance(cargo, Cargo)
    found = origin_of(cargo)
    assert found is not None
    return found
