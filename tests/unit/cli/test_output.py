from __future__ import annotations

import json
import os
import re
from contextlib import redirect_stdout

import msgspec
import pytest
from agent.cli.output import print_json, print_table

ROWS = [("a", None), ("long name", "\x1b[31mred\n[bold]"), ("n", 5)]


class Fact(msgspec.Struct):
    name: str
    value: float | None = None


def _on_a_terminal() -> str:
    """Return what the table looks like where standard output is a terminal."""
    master, slave = os.openpty()
    os.set_blocking(master, False)
    try:
        with os.fdopen(slave, "w") as stream, redirect_stdout(stream):
            print_table("Things", ("name", "value"), ROWS)
            stream.flush()
            return os.read(master, 10_000).decode()
    finally:
        os.close(master)


def test_json_is_utf8_with_structures_and_nulls(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    print_json({"ü": [Fact("x")], "n": 1.5})
    out = capfdbinary.readouterr().out
    assert "ü".encode() in out
    assert json.loads(out) == {"ü": [{"name": "x", "value": None}], "n": 1.5}


def test_a_table_in_a_pipe_is_aligned_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Things", ("name", "value"), ROWS)
    assert capsys.readouterr().out.splitlines() == [
        "Things",
        "name       value",
        "a          -",
        "long name  \\x1b[31mred\\n[bold]",
        "n          5",
    ]


def test_an_empty_table_still_has_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("", ("name", "value"), [])
    assert capsys.readouterr().out == "name  value\n"


def test_a_table_on_a_terminal_has_colours_and_shows_cells_literally(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    shown = _on_a_terminal()
    assert "\x1b[" in shown
    assert "\\x1b[31mred\\n[bold]" in shown


def test_no_color_is_honoured_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[(3[0-7]|9[0-7]|38)", _on_a_terminal())
