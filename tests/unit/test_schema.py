from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest
from agent.errors import InvalidInput
from agent.model.schema import join, read
from agent.model.units import Bytes, Seconds


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    size: Bytes = 0
    every: Seconds | None = None


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    count: Annotated[int, msgspec.Meta(ge=0)] = 0
    kind: Literal["one", "two"] = "one"
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()
    labels: dict[str, str] = {}
    words: str | tuple[str, ...] = ()
    image: str | dict[str, str | dict[str, str]] = ""


def refusal(raw: object) -> str:
    with pytest.raises(InvalidInput) as caught:
        read(Table, raw)
    return str(caught.value)


def test_a_table_becomes_a_structure() -> None:
    raw = {"name": "n", "count": 3, "kind": "two", "words": ["a", "b"], "labels": {"x": "y"}}
    assert read(Table, raw) == Table("n", 3, "two", words=("a", "b"), labels={"x": "y"})


def test_sizes_and_durations_may_be_written_with_units_at_any_depth() -> None:
    raw = {"name": "n", "inner": {"size": "1KiB", "every": "2m"}, "many": [{"size": 5, "every": 7}, {"every": "1s"}]}
    table = read(Table, raw)
    assert table.inner == Inner(1024, 120.0)
    assert table.many == (Inner(5, 7.0), Inner(0, 1.0))


def test_the_given_table_stays_as_it_was() -> None:
    raw = {"name": "n", "inner": {"size": "1KiB"}, "many": [{"size": "1KiB"}]}
    read(Table, raw)
    assert raw == {"name": "n", "inner": {"size": "1KiB"}, "many": [{"size": "1KiB"}]}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"name": "n", "knid": "one"}, 'unknown key "knid" (did you mean "kind"?)'),
        ({"name": "n", "inner": {"sise": 1}}, 'unknown key "inner.sise" (did you mean "size"?)'),
        ({"name": "n", "many": [{}, {"x": 1}]}, 'unknown key "many[1].x" (known: every, size)'),
        ({"name": 5}, "name = 5: Expected str, got int"),
        ({"name": "n", "count": -1}, "count = -1: Expected int >= 0"),
        ({"name": "n", "count": "3"}, "count = '3': Expected int, got str"),
        ({"name": "n", "kind": "three"}, "kind = 'three': Invalid enum value 'three'"),
        ({"name": "n", "inner": {"size": -5}}, "inner.size = -5: Expected int >= 0"),
        ({"name": "n", "inner": {"size": 1.5}}, "inner.size = 1.5: Expected int, got float"),
        ({"name": "n", "many": [{"every": True}]}, "many[0].every = True: Expected float | null, got bool"),
        ({"name": "n", "labels": {"x": 5}}, "labels.x = 5: Expected str (a text in quotes)"),
        ({"name": "n", "inner": []}, "inner: Expected object, got array"),
        ({"name": "n", "many": {}}, "many: Expected array, got object"),
        ({}, "missing required field name"),
        ([], "Expected object, got array"),
        (None, "Expected object, got null"),
    ],
)
def test_what_is_wrong_is_named_with_its_key_and_value(raw: object, message: str) -> None:
    assert refusal(raw) == message


@pytest.mark.parametrize(
    ("raw", "start"),
    [
        ({"name": "n", "inner": {"size": "big"}}, 'inner.size: "big" is not a size'),
        ({"name": "n", "inner": {"every": "often"}}, 'inner.every: "often" is not a duration'),
        ({"name": "n", "many": [{"size": "1XB"}]}, 'many[0].size: "1XB" is not a size'),
    ],
)
def test_a_unit_that_cannot_be_read_is_named_with_its_key(raw: object, start: str) -> None:
    assert refusal(raw).startswith(start)


def test_either_form_of_a_value_with_two_forms_is_read() -> None:
    for words in ("a", ("a", "b")):
        assert read(Table, {"name": "n", "words": words}).words == words
    for image in ("a", {"uri": "a"}, {"amd64": {"uri": "a"}, "arm64": "b"}):
        assert read(Table, {"name": "n", "image": image}).image == image
    assert "words" in refusal({"name": "n", "words": 5})
    assert "image" in refusal({"name": "n", "image": {"amd64": 5}})


def test_paths_are_dotted() -> None:
    assert join("", "a") == "a"
    assert join("a.b", "c") == "a.b.c"
