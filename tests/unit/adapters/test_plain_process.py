from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from agent.adapters.cgroup import Place
from agent.adapters.plain_process import argv, environment, spec
from agent.adapters.spec import JobLimits
from agent.errors import JobFault
from agent.ports import ContainerRun
from agent.supervisor.protocol import parse_spec

VENV = Path("/cache/entries/0123/venv")
DIRECTORY = Path("/state/attempts/job.1")


def run_of(**changes: Any) -> ContainerRun:
    plain: dict[str, Any] = {
        "attempt_id": "job.1",
        "directory": DIRECTORY,
        "image": VENV,
        "command": ("python", "train.py", "--epochs", "3"),
        "env": {},
        "home": DIRECTORY / "work",
        "workdir": ".",
        "network": "host",
        "cpus": 2.0,
        "memory": 512 * 1024**2,
        "timeout": 3600.0,
        "grace": 10.0,
        "log": DIRECTORY / "log",
    }
    return ContainerRun(**{**plain, **changes})


def test_the_program_is_looked_up_where_the_jobs_path_says() -> None:
    assert argv(run_of()) == ["/usr/bin/env", "--", "python", "train.py", "--epochs", "3"]


def test_a_program_is_never_taken_for_a_variable() -> None:
    assert argv(run_of(command=("A=1", "B=2"))) == ["/usr/bin/env", "--", "sh", "-c", 'exec "$0" "$@"', "A=1", "B=2"]


@pytest.mark.parametrize("command", [None, ()])
def test_a_job_without_a_command_is_at_fault(command: tuple[str, ...] | None) -> None:
    with pytest.raises(JobFault, match="the job has no command"):
        argv(run_of(command=command))


def test_the_environment_is_the_jobs_and_nothing_of_the_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_TOKEN", "secret")
    assert environment(run_of(env={"SEED": "$(id)", "LANG": "de_DE.UTF-8"})) == {
        "PATH": f"{VENV}/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/state/attempts/job.1/work",
        "TMPDIR": "/state/attempts/job.1/tmp",
        "LANG": "de_DE.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "VIRTUAL_ENV": str(VENV),
        "SEED": "$(id)",
    }


def test_a_path_of_the_jobs_own_comes_after_its_python() -> None:
    assert environment(run_of(env={"PATH": "/usr/bin:./bin"}))["PATH"] == f"{VENV}/bin:/usr/bin:./bin"


def test_the_home_is_the_agents_to_say() -> None:
    made = environment(run_of(env={"HOME": "/root", "VIRTUAL_ENV": "/other", "S": "/old"}, homes=("S", "T")))
    assert made["HOME"] == made["S"] == made["T"] == "/state/attempts/job.1/work"
    assert made["VIRTUAL_ENV"] == str(VENV)


def test_the_place_of_secrets_is_told_where_there_are_some() -> None:
    assert "EDGE_SECRETS" not in environment(run_of())
    assert environment(run_of(secrets=DIRECTORY / "secrets"))["EDGE_SECRETS"] == "/state/attempts/job.1/secrets"


def test_the_holder_understands_what_it_is_told() -> None:
    parsed = parse_spec(spec(run_of(workdir="./a//b", log_limit=1000), Place(Path("/sys/fs/cgroup/edge")), JobLimits()))
    assert parsed.argv[0] == "/usr/bin/env"
    assert (parsed.attempt, parsed.directory) == ("job.1", str(DIRECTORY))
    assert parsed.cwd == "/state/attempts/job.1/work/a/b"
    assert (parsed.timeout_s, parsed.grace_s, parsed.log_limit_bytes) == (3600.0, 10.0, 1000)
    assert (parsed.cgroup, parsed.rlimits) == ("/sys/fs/cgroup/edge/job.1", {"core": 0, "nofile": 65536})
    assert parsed.memory_bytes == 512 * 1024**2
    assert not parsed.marker
