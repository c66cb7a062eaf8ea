"""The filter of the Ansible collection that writes variables as TOML."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent.toml import parse

_FILE = Path(__file__).parents[2] / "deploy/ansible/plugins/filter/toml.py"


@pytest.fixture(scope="module")
def to_toml() -> Callable[[Any], str]:
    """The filter, loaded as Ansible does: by its path."""
    spec = importlib.util.spec_from_file_location("to_toml_filter", _FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[[Any], str] = module.FilterModule().filters()["to_toml"]
    return found


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"a": 1, "b": -2.5, "c": True, "d": "x", "e": [], "f": {}},
        {"text": 'a "quote", a \\ and\nlines\t\x7f\x01 of ümläute'},
        {"later": {"x": 1}, "plain": 2},
        {"queues": [{"name": "a", "deep": {"er": {"est": 1}}}, {"name": "b"}]},
        {"policy": {"secrets": {"A B": {"file": "/x"}, "é": {"env": "Y"}}}},
        {"mixed": [1, "two", {"three": 3}, [4, [5]]]},
    ],
    ids=["empty", "values", "text", "order", "arrays-of-tables", "quoted-keys", "mixed"],
)
def test_what_is_written_reads_back_the_same(to_toml: Callable[[Any], str], table: dict[str, Any]) -> None:
    assert parse(to_toml(table), "written").table == table


@pytest.mark.parametrize(
    ("table", "named"),
    [({"a": {"b": None}}, "a.b is null"), ({"a": float("nan")}, "a is of type float"), ("x", "of type str")],
    ids=["null", "nan", "no-table"],
)
def test_what_toml_has_no_form_for_is_named(to_toml: Callable[[Any], str], table: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        to_toml(table)
