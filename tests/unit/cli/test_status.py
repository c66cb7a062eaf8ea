"""What `status` shows of a running agent; another process answers in its place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from agent.attempt import State
from agent.board import Mode
from agent.cli import cli
from agent.control.protocol import AttemptView, Snapshot
from agent.control.server import Server
from agent.model.share import Share
from agent.model.usage import Totals
from click.testing import CliRunner

RUNNING = AttemptView("job-1", 1, "train", "lab", State.STARTED, "run", "amd64", False, Share(), 1.0)
PROBLEM = "NVIDIA A10 at 0000:01:00.0 is not given out: gpu-lost; reboot"
NONE_ENDED = Totals()
READY = Mode("ready")
Show = Callable[..., str]


@pytest.fixture
def show(tmp_path: Path) -> Iterator[Show]:
    """A function that returns what `status` prints of an agent with this attempt and these problems."""
    servers: list[Server] = []

    def printed(
        attempt: AttemptView,
        totals: Totals = NONE_ENDED,
        mode: Mode = READY,
        **problems: str,
    ) -> str:
        snapshot = Snapshot("1", "a", 1, mode, Share(), Share(), (), (attempt,), (), (), problems, totals)
        server = Server(tmp_path, lambda command: (snapshot,))
        servers.append(server)
        threading.Thread(target=server.serve, daemon=True).start()
        done = CliRunner().invoke(cli, ["--state-dir", str(tmp_path), "status"])
        assert done.exit_code == 0, done.output
        return done.output

    yield printed
    for server in servers:
        server.close()


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({}, ""),
        ({"trouble": "NVIDIA A10: gpu-lost"}, "NVIDIA A10: gpu-lost"),
        ({"trouble": "NVIDIA A10: gpu-lost", "stop": "cancelled"}, "stopping: cancelled"),
        ({"trouble": "NVIDIA A10: gpu-lost", "waiting": "store down"}, "store down"),
    ],
)
def test_the_note_of_a_job_says_what_holds_it_up_or_what_is_wrong_where_it_runs(
    show: Show, changes: dict[str, Any], note: str
) -> None:
    line = show(msgspec.structs.replace(RUNNING, **changes)).splitlines()[-1]
    assert line.startswith("job-1  train  started (run)")
    assert line.endswith(note)
    assert ("gpu-lost" in line) == ("gpu-lost" in note)


def test_a_gpu_that_is_withdrawn_is_among_the_problems(show: Show) -> None:
    assert f"problem: gpu: {PROBLEM}" in show(RUNNING, gpu=PROBLEM).splitlines()


def test_what_the_ended_jobs_have_used_is_one_line(show: Show) -> None:
    totals = Totals({"succeeded": 2, "failed": 1}, 75.25, 3 * 1024**2, 512)
    line = "ended since the start: 1 failed, 2 succeeded; 75.2 s of CPU time; 3 MiB fetched, 512 B stored"
    assert line in show(RUNNING, totals).splitlines()
    assert "ended since" not in show(RUNNING)


def test_an_agent_that_takes_no_jobs_by_itself_says_why_and_how_much_waits(show: Show) -> None:
    text = show(msgspec.structs.replace(RUNNING, waiting="store down"), mode=Mode("ready", held="outbox: full"))
    assert "takes no new jobs for now: outbox: full\n" in text
    assert "1 result(s) wait to leave, the oldest of a job of " in text
    assert "wait to leave" not in show(RUNNING)
