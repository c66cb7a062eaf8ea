"""What a job is at, on one line of a terminal."""

from __future__ import annotations

import io

import pytest
from agent.cli.progress import CLEAR, ProgressLine, progress_text
from agent.client import JobView
from agent.model.live import Progress

VIEW = JobView("job-1", "train", "lab", "started", "any-none", 100.0, host="host-a")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Let somebody look on; not as a fixture, since pytest puts its own streams back before the test."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "20")
    return terminal


@pytest.mark.parametrize(
    ("state", "progress", "text"),
    [
        ("waiting", None, "waiting for 3m20s"),
        ("claimed", None, "staging on host-a"),
        ("claimed", Progress("image", 1.0, 4.0), "staging the image on host-a for 4.0 s"),
        ("claimed", Progress("stage-in", 1.0, 12.0, 40), "staging the inputs, 40 % on host-a for 12 s"),
        ("started", None, "running on host-a"),
        ("started", Progress("run", 1.0, 725.0), "running on host-a for 12m05s"),
        ("started", Progress("deliver", 1.0), "saving on host-a"),
        ("started", Progress("a later step", 1.0), "a later step on host-a"),
    ],
    ids=["waiting", "staging", "image", "inputs", "started", "running", "saving", "unknown step"],
)
def test_every_step_is_said_in_words(state: str, progress: Progress | None, text: str) -> None:
    view = JobView("job-1", "train", "lab", state, "any-none", 100.0, host="host-a")
    assert progress_text(view, progress, 300.0) == f"job-1  {text}"


def test_the_line_is_written_anew_in_its_place_and_only_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    line = ProgressLine()
    for text in ("one", "one", "two"):
        line.show(text)
    line.clear()
    line.clear()
    assert terminal.getvalue() == f"{CLEAR}one{CLEAR}two{CLEAR}"


def test_a_line_that_is_too_long_for_the_terminal_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    ProgressLine().show("x" * 100)
    assert terminal.getvalue() == CLEAR + "x" * 19


def test_a_line_of_the_log_that_is_not_ended_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    line = ProgressLine()
    line.printed(b"half a line")
    line.show("one")
    assert terminal.getvalue() == ""
    line.printed(b"\n")
    line.show("one")
    assert terminal.getvalue() == f"{CLEAR}one"


def test_in_a_pipe_there_is_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr("sys.stderr", pipe)
    line = ProgressLine()
    line.show("one")
    line.clear()
    assert (line.is_on, pipe.getvalue()) == (False, "")
