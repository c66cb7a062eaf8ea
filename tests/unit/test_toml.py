from __future__ import annotations

import random
from typing import Any

import pytest
from agent import toml
from agent.errors import InvalidInput

TEXT = '''\
# a comment with [brackets] and "quotes"
top = 1

[agent]
id = "x" # [not.a.table]
"quo ted" = """
hidden = 1
[hidden]
""\\"""""
'lit.eral' = \'\'\'
it''s\'\'\'
when = 1979-05-27 07:32:00

[[queues]]
name = "a" ; lanes = [
    "]", # ]

    { b = 1,
      c = [2] },
]
[[queues]]
url = 'b'
[queues.sub]
deep.er = { x = 1, "y z" = ["#", "}"] }
[[queues.parts]]
n = 1
[[queues.parts]]
n = 2
[ spaced . "out" ]
last = true'''.replace(" ; ", "\n").replace("1,\n      c", "1, c")


def test_every_value_has_the_line_where_its_key_or_element_begins() -> None:
    document = toml.parse(TEXT, "f.toml")
    lines = TEXT.splitlines()
    assert {path: lines[line - 1].strip() for path, line in document.lines.items()} == {
        "top": "top = 1",
        "agent": "[agent]",
        "agent.id": 'id = "x" # [not.a.table]',
        "agent.quo ted": '"quo ted" = """',
        "agent.lit.eral": "'lit.eral' = '''",
        "agent.when": "when = 1979-05-27 07:32:00",
        "queues": "[[queues]]",
        "queues[0]": "[[queues]]",
        "queues[0].name": 'name = "a"',
        "queues[0].lanes": "lanes = [",
        "queues[0].lanes[0]": '"]", # ]',
        "queues[0].lanes[1]": "{ b = 1, c = [2] },",
        "queues[0].lanes[1].b": "{ b = 1, c = [2] },",
        "queues[0].lanes[1].c": "{ b = 1, c = [2] },",
        "queues[0].lanes[1].c[0]": "{ b = 1, c = [2] },",
        "queues[1]": "[[queues]]",
        "queues[1].url": "url = 'b'",
        "queues[1].sub": "[queues.sub]",
        "queues[1].sub.deep": 'deep.er = { x = 1, "y z" = ["#", "}"] }',
        "queues[1].sub.deep.er": 'deep.er = { x = 1, "y z" = ["#", "}"] }',
        "queues[1].sub.deep.er.x": 'deep.er = { x = 1, "y z" = ["#", "}"] }',
        "queues[1].sub.deep.er.y z": 'deep.er = { x = 1, "y z" = ["#", "}"] }',
        "queues[1].sub.deep.er.y z[0]": 'deep.er = { x = 1, "y z" = ["#", "}"] }',
        "queues[1].sub.deep.er.y z[1]": 'deep.er = { x = 1, "y z" = ["#", "}"] }',
        "queues[1].parts": "[[queues.parts]]",
        "queues[1].parts[0]": "[[queues.parts]]",
        "queues[1].parts[0].n": "n = 1",
        "queues[1].parts[1]": "[[queues.parts]]",
        "queues[1].parts[1].n": "n = 2",
        "spaced": '[ spaced . "out" ]',
        "spaced.out": '[ spaced . "out" ]',
        "spaced.out.last": "last = true",
    }


def test_the_second_table_of_an_array_has_its_own_line() -> None:
    assert toml.parse("[[a]]\n\n[[a]]\n", "f").lines == {"a": 1, "a[0]": 1, "a[1]": 3}


def test_windows_line_ends_count_as_one_line() -> None:
    assert toml.parse("a = 1\r\nb = 2\r\n", "f").lines == {"a": 1, "b": 2}


def _random_value(rng: random.Random, depth: int) -> str:
    texts = [
        '"a\\"]#"',
        "'}'",
        '"""x\n"" ]"""',
        "'''\n[x]\n'''",
        "1",
        "-1.5",
        "true",
        "2020-01-01T10:00:00Z",
        '""',
    ]
    if depth == 0 or rng.random() < 0.5:
        return rng.choice(texts)
    members = [_random_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    if rng.random() < 0.5:
        return "[" + ",".join(f"\n # ],\n {member}" for member in members) + "\n]"
    plain = [member for member in members if "\n" not in member]
    return "{ " + ", ".join(f'k{index}."a.b" = {member}' for index, member in enumerate(plain)) + " }"


@pytest.mark.parametrize("seed", range(100))
def test_generated_documents_have_a_line_for_every_value_and_for_nothing_else(seed: int) -> None:
    rng = random.Random(seed)
    text, starts = "", {}
    for index in range(6):
        starts[f"key{index}"] = text.count("\n") + 1
        text += f"key{index} = {_random_value(rng, 3)} # tail\n"
    document = toml.parse(text, "f")
    assert {path for path, _ in toml.leaves(document.table)} <= set(document.lines)
    assert {path: line for path, line in document.lines.items() if path in starts} == starts


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = 1\nb = \nc = 3", 2), ("a = 1\na = 2", 2), ("a = [1,\n2", 2), ("\n\nx = 'y", 3), ("[a]\n[a]\n", 2)],
)
def test_a_syntax_error_names_file_and_line(text: str, line: int) -> None:
    with pytest.raises(InvalidInput, match=rf"^f\.toml:{line}: not valid TOML: "):
        toml.parse(text, "f.toml")


def test_nesting_too_deep_for_the_parser_is_an_error_not_a_crash() -> None:
    with pytest.raises(InvalidInput, match="nested too deeply"):
        toml.parse("a = " + "[" * 100_000, "f.toml")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("[1, 2]", [1, 2]), ("true", True), ('{a = "b"}', {"a": "b"}), ("1_000", 1000)],
)
def test_a_single_value_is_read_as_in_a_file(text: str, value: Any) -> None:
    assert toml.parse_value(text) == value


@pytest.mark.parametrize("text", ["", "20m", "1\nother = 2", "[1", "a b"])
def test_what_is_no_single_value_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        toml.parse_value(text)


@pytest.mark.parametrize(
    ("what", "path"),
    [
        ("a.b = 5: Expected str", "a.b"),
        ('unknown key "a.bx"', "a"),
        ('unknown key "a.b"', "a.b"),
        ("a.b[3]: not there", "a.b"),
        ("a.bcd = 1", "a"),
        ("missing required field image", None),
    ],
)
def test_an_error_text_leads_to_the_nearest_known_path(what: str, path: str | None) -> None:
    assert toml.blamed(what, ["a", "a.b", "c"]) == path
