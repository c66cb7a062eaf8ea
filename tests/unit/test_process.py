from __future__ import annotations

import os
from pathlib import Path

import pytest
from agent.errors import Unavailable
from agent.process import run

from tests.waiting import wait_until


def test_status_and_output() -> None:
    done = run(["sh", "-c", "cat; echo problem >&2; exit 3"], 10, stdin=b"text")
    assert (done.status, done.out, done.err) == (3, "text", "problem\n")


def test_a_signal_is_a_negative_status() -> None:
    assert run(["sh", "-c", "kill -9 $$"], 10).status == -9


def test_there_is_no_shell_and_no_input_unless_given() -> None:
    assert run(["cat"], 10).out == ""
    assert run(["echo", "$HOME; true"], 10).out == "$HOME; true\n"


def test_the_environment_is_replaced() -> None:
    assert run(["/usr/bin/env"], 10, env={"A": "1"}).out == "A=1\n"


def test_a_missing_program_is_named() -> None:
    with pytest.raises(Unavailable, match="no-such-program cannot be started: No such file"):
        run(["no-such-program"], 10)


@pytest.mark.parametrize("end", ["wait", "true"], ids=["leader-waits", "leader-is-gone"])
def test_after_the_timeout_the_whole_group_is_gone(tmp_path: Path, end: str) -> None:
    pids = tmp_path / "pids"
    with pytest.raises(Unavailable, match=r"sh was not done after 0\.5 s"):
        run(["sh", "-c", f"sleep 600 & echo $! >{pids}; {end}"], 0.5)
    wait_until(lambda: not _runs(int(pids.read_text())), what="the grandchild is gone")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return not Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].startswith(" Z")
    except (ProcessLookupError, FileNotFoundError):
        return False
