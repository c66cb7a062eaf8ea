"""`jobs --unmatched` and `status JOB --attempts`, on a queue in a directory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from agent.cli import cli
from agent.cli.stores import client
from agent.config import load_config
from agent.model.job import parse_job
from agent.model.records import AttemptRecord, HostRefusal, Outcome
from agent.model.verdict import Reason, Refusal
from agent.results import Results
from agent.wiring import Stores
from click.testing import CliRunner

Run = Callable[..., str]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """The results of one job, job-1, and one that was submitted and refused by two hosts."""
    file = tmp_path / "config.toml"
    file.write_text(f'[agent]\nstate_dir = "{tmp_path}/state"\n')
    config = load_config(file, {}, {}).config
    results = Stores(config).results(config.queues[0])
    sid = client(config, config.queues[0]).submit(parse_job({"image": "file:///a.sif", "name": "huge"}))
    cpus, memory = Refusal(Reason.CPUS, "64 CPUs", "4 CPUs"), Refusal(Reason.MEMORY, "1 TiB of memory", "8 GiB")
    results.refuse(sid, HostRefusal("host-a", 1.0, (cpus, memory)))
    results.refuse(sid, HostRefusal("host-b", 1.0, (memory,)))
    results.claim(AttemptRecord("job-1", 1, "host-a", "secret token", 1.0, "superseded", 2.0, 7.0, Outcome.SUPERSEDED))
    results.claim(AttemptRecord("job-1", 2, "host-b", "secret token", 3.0, "started", 4.0))
    return results


@pytest.fixture
def run(tmp_path: Path, results: Results) -> Run:
    def printed(*words: str) -> str:
        done = CliRunner().invoke(cli, ["--config", str(tmp_path / "config.toml"), *words])
        assert done.exit_code == 0, done.output
        return done.stdout

    return printed


def test_a_job_that_fits_no_host_is_shown_with_the_nearest_miss(run: Run) -> None:
    _, line = run("jobs", "--unmatched").splitlines()
    assert line.split()[1] == "huge"
    assert line.endswith("2      host-b   memory: needs 1 TiB of memory, has 8 GiB")
    (shown,) = json.loads(run("jobs", "--unmatched", "--json"))
    assert (shown["name"], shown["state"], shown["nearest_miss"]["host"]) == ("huge", "waiting", "host-b")


def test_every_attempt_is_shown_also_one_that_was_overtaken(run: Run) -> None:
    _, first, second = run("status", "job-1", "--attempts").splitlines()
    assert first.split()[:4] == ["1", "host-a", "superseded", "5.0"]
    assert second.split()[:3] == ["2", "host-b", "started"]
    shown = run("status", "job-1", "--attempts", "--json")
    assert [each["n"] for each in json.loads(shown)] == [1, 2]
    assert "secret token" not in shown
