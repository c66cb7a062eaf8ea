from __future__ import annotations

import json
import random
from typing import Any

import jsonpatch
import pytest
from agent.studioml import metadata
from agent.studioml.metadata import LARGEST, LONGEST_LINE, MAX_DEPTH, Document, directive

from tests.studioml_keys import VECTORS

CASES = json.loads((VECTORS / "metadata_editor_cases.json").read_bytes())["cases"]


def edited(*lines: str) -> Any:
    document = Document()
    for line in lines:
        document.line(line)
    return json.loads(document.as_json())


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


# --- which lines ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('{"loss": 0.5}', {"loss": 0.5}),
        ('  \t{"loss": 0.5}\r\n', {"loss": 0.5}),
        ('[{"op": "add"}]', [{"op": "add"}]),
        ("[1]", [1]),
        ("{ }", {}),
        ('{"a": 1, "a": 2}', {"a": 2}),
        ('{"ä": "\\u00fc"}', {"ä": "ü"}),
    ],
)
def test_a_line_that_is_an_object_or_an_array_is_an_edit(line: str, value: Any) -> None:
    assert directive(line) == value


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "{}",
        "[]",
        "[}",
        '{"a"]',
        "loss 0.5",
        'x {"a": 1}',
        '{"a": 1} x',
        '"text"',
        "null",
        "{'a': 1}",
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": ' + "9" * 5000 + "}",
        "[" * 100_000 + "]" * 100_000,
        "[" * 5000 + "]" * 5000,
    ],
)
def test_any_other_line_is_none(line: str) -> None:
    assert directive(line) is None


def test_a_line_of_more_than_64_kib_is_none() -> None:
    around = len('{"a":""}')
    longest = '{"a":"' + "x" * (LONGEST_LINE - around) + '"}'
    assert directive(longest) is not None
    assert directive(longest.replace("x", "xx", 1)) is None
    assert directive('{"a":"' + "ü" * (LONGEST_LINE // 2) + '"}') is None


def test_nesting_has_an_end() -> None:
    assert directive(nested(MAX_DEPTH)) is not None
    assert directive(nested(MAX_DEPTH + 1)) is None


# --- what they do ---------------------------------------------------------------------------------------------------


def test_a_document_without_edits_is_empty() -> None:
    assert Document().as_json() == b"{}"
    assert edited("hello", "{}", "[1, 2, 3]", "{ }") == {}


def test_the_recorded_edits_give_the_recorded_documents() -> None:
    assert len(CASES) == 12
    document = Document()
    before: Any = {}
    for case in CASES:
        document.line(case["directive"])
        expected = before if case["expected"] is None else case["expected"]
        assert json.loads(document.as_json()) == expected, case["directive"]
        before = expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (['{"a": {"b": 1}}', '{"a": {"c": 2}, "d": 3}'], {"a": {"b": 1, "c": 2}, "d": 3}),
        (['{"a": {"b": 1}}', '{"a": {"b": {"c": 2}}}'], {"a": {"b": {"c": 2}}}),
        (['{"a": {"b": 1}}', '{"a": 5}'], {"a": 5}),
        (['{"a": {"b": 1}}', '{"a": [2]}'], {"a": [2]}),
        (['{"a": [1]}', '{"a": [2]}'], {"a": [2]}),
        (['{"a": {"b": 1}}', '{"a": null}'], {"a": {"b": 1}}),
        (['{"a": 1}', '{"a": null}'], {"a": None}),
        (['{"b": null}'], {"b": None}),
    ],
)
def test_objects_are_merged(lines: list[str], expected: Any) -> None:
    assert edited(*lines) == expected


def test_a_bad_edit_changes_nothing_and_the_next_one_counts() -> None:
    patch = '[{"op": "add", "path": "/a", "value": 9}, {"op": "remove", "path": "/nothing"}]'
    assert edited('{"a": 1}', patch, '{"b": 2}') == {"a": 1, "b": 2}


def test_a_patch_whose_test_fails_changes_nothing() -> None:
    patch = '[{"op": "remove", "path": "/a"}, {"op": "test", "path": "/b", "value": 3}]'
    assert edited('{"a": 1, "b": 2}', patch) == {"a": 1, "b": 2}
    assert edited('{"a": 1, "b": 2}', patch.replace("3", "2")) == {"b": 2}


@pytest.mark.parametrize(
    "patch",
    [
        [{}],
        [[]],
        ["add"],
        [1],
        [None],
        [{"op": "add", "path": "/a"}],
        [{"op": "add", "value": 1}],
        [{"op": "add", "path": 1, "value": 1}],
        [{"op": "add", "path": ["a"], "value": 1}],
        [{"op": "add", "path": "a", "value": 1}],
        [{"op": "add", "path": "/a~2", "value": 1}],
        [{"op": "add", "path": "/list/-1", "value": 1}],
        [{"op": "add", "path": "/list/9", "value": 1}],
        [{"op": "add", "path": "/list/01", "value": 1}],
        [{"op": "add", "path": "/list/" + "9" * 5000, "value": 1}],
        [{"op": "add", "path": "/text/0", "value": 1}],
        [{"op": "add", "path": "/nothing/0", "value": 1}],
        [{"op": "append", "path": "/text", "value": "x"}],
        [{"op": ["add"], "path": "/a", "value": "x"}],
        [{"op": "remove", "path": "/list/-"}],
        [{"op": "replace", "path": "/nothing", "value": 1}],
        [{"op": "move", "path": "/a"}],
        [{"op": "move", "path": "/object/a", "from": "/object"}],
        [{"op": "move", "path": "/a", "from": ""}],
        [{"op": "copy", "path": "/a", "from": 1}],
        [{"op": "copy", "path": "/a", "from": "/nothing"}],
        [{"op": "add", "path": "", "value": {}}],
        [{"op": "replace", "path": "", "value": []}],
        [{"op": "remove", "path": ""}],
    ],
)
def test_what_is_no_patch_changes_nothing(patch: Any) -> None:
    content = {"list": [1], "text": "t", "object": {"a": 1}}
    assert edited(json.dumps(content), json.dumps(patch)) == content


def test_a_patch_may_only_add_to_what_the_runner_says() -> None:
    content = {"studioml": {"host": "a"}, "StudioML": {"own": 1}, "mine": 1}
    for operation in (
        {"op": "remove", "path": "/studioml/host"},
        {"op": "replace", "path": "/studioml/host", "value": "b"},
        {"op": "test", "path": "/studioml/host", "value": "a"},
        {"op": "remove", "path": "/StudioML"},
        {"op": "move", "path": "/mine/host", "from": "/studioml/host"},
        {"op": "move", "path": "/studioml/mine", "from": "/mine"},
        {"op": "copy", "path": "/studioml/mine", "from": "/mine"},
    ):
        assert edited(json.dumps(content), json.dumps([{"op": "remove", "path": "/mine"}, operation])) == content
    added = {"op": "add", "path": "/studioml/mine", "value": 2}
    assert edited(json.dumps(content), json.dumps([added]))["studioml"] == {"host": "a", "mine": 2}


# --- hostile lines --------------------------------------------------------------------------------------------------


def test_the_document_never_becomes_larger_than_it_may_be() -> None:
    document = Document()
    for number in range(LARGEST // 60_000 + 5):
        document.line(json.dumps({f"k{number}": "x" * 60_000}))
    assert LARGEST - 2 * LONGEST_LINE < len(document.as_json()) <= LARGEST
    document.line('[{"op": "remove", "path": "/k1"}]')
    document.line('{"small": 1}')
    assert json.loads(document.as_json())["small"] == 1


def test_what_is_replaced_again_and_again_never_fills_it() -> None:
    document = Document()
    for number in range(3 * LARGEST // 60_000):
        document.line(json.dumps({"last": number, "text": "x" * 60_000}))
    assert json.loads(document.as_json())["last"] == number


def test_copies_of_copies_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "LARGEST", 50_000)
    document = Document()
    document.line('{"a": {"text": "0123456789"}}')
    copies = [{"op": "copy", "path": f"/a/c{number}", "from": "/a"} for number in range(60)]
    document.line(json.dumps(copies))
    assert json.loads(document.as_json()) == {"a": {"text": "0123456789"}}
    for copy in copies:
        document.line(json.dumps([copy]))
    assert 20_000 < len(document.as_json()) <= 50_000
    assert "c0" in json.loads(document.as_json())["a"]


def test_nesting_by_patches_has_an_end() -> None:
    document = Document()
    document.line('{"a": {}, "b": {}}')
    for _ in range(3 * MAX_DEPTH):
        document.line(
            '[{"op": "move", "path": "/b/a", "from": "/a"}, {"op": "move", "path": "/a", "from": "/b"}, \
            {"op": "add", "path": "/b", "value": {}}]'
        )
    deepest = "/a" * (MAX_DEPTH - 1)
    document.line(json.dumps([{"op": "add", "path": deepest, "value": {"a": {"a": {}}}}]))
    text = document.as_json()
    depth = max(text[:end].count(b"{") - text[:end].count(b"}") for end in range(len(text)))
    assert MAX_DEPTH - 3 <= depth <= MAX_DEPTH


def test_moves_that_nest_nothing_can_be_repeated_for_ever() -> None:
    there, back = '[{"op":"move","path":"/b/x","from":"/a"}]', '[{"op":"move","path":"/a","from":"/b/x"}]'
    assert edited('{"a": {"deep": {}}, "b": {}}', *[there, back] * (2 * MAX_DEPTH))["a"] == {"deep": {}}


def test_the_work_on_a_document_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "MOST_WORK", 100_000)
    document = Document()
    document.line(json.dumps({"text": "x" * 1000, "count": 0}))
    for number in range(1000):
        document.line(json.dumps([{"op": "replace", "path": "/count", "value": number}]))
    content = json.loads(document.as_json())
    assert 0 < content["count"] < 999


def test_patching_a_small_document_again_and_again_is_little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "MOST_WORK", 2_000_000)
    patches = [f'[{{"op": "replace", "path": "/count", "value": {number}}}]' for number in range(3000)]
    assert edited('{"count": 0}', *patches) == {"count": 2999}


def test_half_a_surrogate_pair_is_written_as_it_was_read() -> None:
    assert edited('{"a": "\\ud800"}') == {"a": "\ud800"}
    assert edited('{"a": "\ud800"}') == {"a": "\ud800"}


def test_random_edits_give_what_a_document_that_is_copied_each_time_would_be() -> None:
    chance = random.Random(6)
    document, expected = Document(), {"list": [1, 2], "object": {"a": {}}}
    document.line(json.dumps(expected))
    applied = 0
    for _ in range(3000):
        patch = [_operation(chance) for _ in range(chance.randint(1, 3))]
        try:
            expected = jsonpatch.apply_patch(expected, patch)
            applied += 1
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException):
            pass
        document.line(json.dumps(patch))
        assert json.loads(document.as_json()) == expected
    assert 300 < applied < 2700


def _operation(chance: random.Random) -> dict[str, Any]:
    def path() -> str:
        parts = chance.choices(["list", "object", "a", "b", "0", "1", "-"], k=chance.randint(1, 3))
        return "".join(f"/{part}" for part in parts)

    # No copies: what they may make of a document is estimated, and refused sooner.
    kind = chance.choice(["add", "add", "add", "remove", "replace", "move", "test"])
    value = chance.choice([0, "text", None, [], {}, [1, 2], {"a": 1, "b": [2]}])
    return {"op": kind, "path": path(), "from": path(), "value": value}
