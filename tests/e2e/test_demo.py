"""`edge-agent demo` on a machine with the runtime, and on one without."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from agent.cli.demo import GET_APPTAINER

from tests.e2e.plain_user import USER, as_plain_user
from tests.e2e.site import COMMAND, TIMEOUT


def run_demo(argv: list[str], **options: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **options}
    return subprocess.run(argv, capture_output=True, text=True, env=env, timeout=TIMEOUT, check=False, cwd="/")


def assert_shown(done: subprocess.CompletedProcess[str]) -> None:
    """The table says what ran, why the others did not, and where the artifact is; it is there."""
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert rows["hello"].split()[1] == "succeeded"
    assert rows["foreign"].split()[1] == "waiting"
    assert "architecture: " in rows["foreign"]
    assert rows["huge"].split()[1] == "waiting"
    assert "memory: " in rows["huge"]
    (uri,) = re.findall(r"file://(\S+)", rows["hello"])
    assert Path(unquote(uri)).stat().st_size > 0
    assert "it printed: hello from" in done.stdout
    assert done.stderr == ""


def test_the_demo_runs_and_runs_again(tmp_path: Path) -> None:
    argv = [str(COMMAND), "demo", "--dir", str(tmp_path / "demo")]
    first = run_demo(argv)
    assert_shown(first)
    assert "building it" in first.stdout
    second = run_demo(argv)
    assert_shown(second)
    assert "building it" not in second.stdout
    fetch = next(line for line in second.stdout.splitlines() if line.startswith("fetch it:"))
    command = [str(COMMAND), *fetch.split()[3:-1], str(tmp_path / "here")]
    subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT)
    assert (tmp_path / "here/model/weights.txt").read_text() == "0.1 0.2 0.3\n"


def test_the_demo_prints_json(tmp_path: Path) -> None:
    done = run_demo([str(COMMAND), "demo", "--json", "--dir", str(tmp_path)])
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["host"]["schema"] == "edge-agent/capabilities/v1"
    assert [(each["name"], each["state"]) for each in answer["jobs"]] == [
        ("hello", "succeeded"),
        ("foreign", "waiting"),
        ("huge", "waiting"),
    ]


def test_the_demo_without_a_runtime_says_how_to_get_one(tmp_path: Path) -> None:
    done = run_demo([str(COMMAND), "demo", "--dir", str(tmp_path / "demo")], PATH=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (3, "", f"edge-agent: {GET_APPTAINER}\n")
    assert not (tmp_path / "demo").exists()


def test_the_demo_names_a_directory_that_cannot_be_made() -> None:
    done = run_demo([str(COMMAND), "demo", "--dir", "/proc/demo"])
    line = "edge-agent: /proc/demo: No such file or directory; choose another directory with --dir\n"
    assert (done.returncode, done.stdout, done.stderr) == (3, "", line)


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory of a plain user; those of the tests are root's alone."""
    path = Path(tempfile.mkdtemp(prefix="edge-agent-plain-"))
    if os.geteuid() == 0:
        os.chown(path, USER, USER)
    yield path
    shutil.rmtree(path)


def test_the_demo_runs_for_a_plain_user(home: Path) -> None:
    argv = as_plain_user(str(COMMAND), "demo", "--dir", str(home / "demo"))
    folders = {name: str(home / name) for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")}
    done = run_demo(argv, HOME=str(home), **folders)
    assert_shown(done)
    assert (home / "demo").stat().st_uid == (USER if os.geteuid() == 0 else os.geteuid())
