from __future__ import annotations

import pytest
from agent.message_text import LONGEST, message_text


def test_json_is_shown_in_lines_with_its_secrets_masked() -> None:
    shown = message_text(b'{"api": "x", "env": {"API_TOKEN": "hunter2", "A": "1"}}')
    assert shown["form"] == "json"
    assert "hunter2" not in shown["body"]
    assert '    "A": "1"' in shown["body"].splitlines()


@pytest.mark.parametrize(
    "body",
    [b"password=hunter2 and so on", b'{"password": "hunter2", broken', b'\xff\xfe{"password": "hunter2"'],
    ids=["text", "broken JSON", "broken text"],
)
def test_what_is_no_json_is_text_with_its_secrets_masked(body: bytes) -> None:
    shown = message_text(body)
    assert shown["form"] == "text"
    assert "hunter2" not in shown["body"]


def test_what_is_no_text_is_shown_in_hexadecimal() -> None:
    assert message_text(bytes(range(64))) == {
        "form": "hex",
        "body": "\n".join(bytes(range(start, start + 32)).hex(" ") for start in (0, 32)),
    }


def test_nothing_steers_the_terminal() -> None:
    assert "\x1b" not in message_text(b"a password=x \x1b[2J b")["body"]
    assert "\x1b" not in message_text(b'{"a": "\\u001b[2J"}')["body"]


def test_a_long_message_is_cut() -> None:
    shown = message_text(b"word " * LONGEST)
    assert shown["body"].endswith(f"... and {4 * LONGEST} characters more")
