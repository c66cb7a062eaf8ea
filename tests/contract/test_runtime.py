"""What every Runtime promises, over a fake, real Apptainer and plain processes; then what only one of them can do."""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from agent.adapters.apptainer import ApptainerRuntime
from agent.adapters.cgroup import job_groups
from agent.adapters.local_image import build_image, make_root
from agent.config import Config
from agent.config.sections import AgentSection, RuntimeSection
from agent.config.studioml import StudioMLSection
from agent.errors import JobFault, RuntimeUnavailable
from agent.model.run import Devices, Mount
from agent.ports import ABSENT, RUNNING, ContainerRun, Exit, Runtime
from agent.process import run as run_program
from agent.wiring import run_trial

from tests.local_runtime import LocalRuntime
from tests.supervision import BURN, LONG, named, told_cpu_s
from tests.waiting import wait_until

DEADLINE = 30.0


@pytest.fixture(scope="module")
def apptainer() -> str:
    program = shutil.which("apptainer")
    assert program is not None, "Apptainer is missing; packaging/install-apptainer.sh installs it"
    return program


@pytest.fixture(scope="module")
def sif(tmp_path_factory: pytest.TempPathFactory, apptainer: str) -> Path:
    """A tiny image of this host's own programs."""
    target = tmp_path_factory.mktemp("image") / "tiny.sif"
    build_image(target, apptainer)
    return target


class World:
    """A state directory with a runtime, and what the attempts in it have left."""

    def __init__(self, state: Path, runtime: Runtime, image: Path) -> None:
        self.state = state
        self.runtime = runtime
        self.image = image

    def spec(self, script: str, attempt: str = "job.1", **changes: Any) -> ContainerRun:
        """A run of the shell script, with the directories that the steps before it make."""
        directory = self.state / "attempts" / attempt
        for name in ("work/sub", "tmp"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        plain: dict[str, Any] = {
            "attempt_id": attempt,
            "directory": directory,
            "image": self.image,
            "command": ("sh", "-c", script),
            "env": {},
            "home": directory / "work",
            "workdir": ".",
            "network": "none",
            "cpus": 1.0,
            "memory": 256 * 1024**2,
            "timeout": None,
            "grace": 10.0,
            "log": directory / "log",
        }
        return ContainerRun(**{**plain, **changes})

    def start(self, script: str, attempt: str = "job.1", **changes: Any) -> None:
        self.runtime.start(self.spec(script, attempt, **changes))

    def ended(self, attempt: str = "job.1") -> Exit:
        status = self.runtime.status(attempt, DEADLINE)
        assert status.exit is not None, f"{status}; log: {self.log(attempt)!r}"
        return status.exit

    def run(self, script: str, attempt: str = "job.1", **changes: Any) -> bytes:
        """Run the script to its end, which must be a good one; return its log."""
        self.start(script, attempt, **changes)
        ended = self.ended(attempt)
        assert (ended.exit_code, ended.why) == (0, "exited"), f"{ended}; log: {self.log(attempt)!r}"
        return self.log(attempt)

    def log(self, attempt: str = "job.1") -> bytes:
        path = self.state / "attempts" / attempt / "log"
        return path.read_bytes() if path.exists() else b""

    def logged(self, text: bytes, attempt: str = "job.1") -> None:
        wait_until(lambda: text in self.log(attempt), DEADLINE, f"{text!r} in the log of {attempt}")

    def work(self, attempt: str = "job.1") -> Path:
        return self.state / "attempts" / attempt / "work"


def apptainer_runtime(state: Path) -> ApptainerRuntime:
    return ApptainerRuntime(state, lambda: shutil.which("apptainer"))


@pytest.fixture
def container(tmp_path: Path, sif: Path) -> Iterator[World]:
    """Real containers."""
    state = tmp_path / "state"
    state.mkdir()
    runtime = apptainer_runtime(state)
    yield World(state, runtime, sif)
    for directory in (state / "attempts").glob("*"):
        runtime.remove(directory.name)
    runtime.end()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[World]:
    """Plain processes; the image is a program."""
    runtime, image = LocalRuntime(), tmp_path / "image"
    image.write_text("#!/bin/sh\necho runscript\n")
    image.chmod(0o755)
    yield World(tmp_path / "state", runtime, image)
    runtime.close()


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment of this Python, without any package."""
    place = tmp_path_factory.mktemp("environment") / "venv"
    assert run_program((sys.executable, "-m", "venv", "--without-pip", str(place)), 60).status == 0
    return place


@pytest.fixture
def plain(tmp_path: Path, venv: Path) -> Iterator[World]:
    """Plain processes in a Python environment, on a host without any container runtime."""
    state = tmp_path / "state"
    state.mkdir()
    runtime = ApptainerRuntime(state, lambda: None)
    yield World(state, runtime, venv)
    for directory in (state / "attempts").glob("*"):
        runtime.remove(directory.name)
    runtime.end()


@pytest.fixture(params=["local", "container", "plain"])
def world(request: pytest.FixtureRequest) -> World:
    found: World = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def token() -> str:
    """An argument for a long sleep that no other process on the host has."""
    return f"{LONG}.{random.randrange(10**9):09d}"


# --- all ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_the_exit_code_is_the_payloads(world: World, code: int) -> None:
    world.start(f"exit {code}")
    ended = world.ended()
    assert (ended.exit_code, ended.signal, ended.why, ended.started) == (code, None, "exited", True)
    assert ended.started_at is not None
    assert ended.ended_at is not None
    assert ended.started_at <= ended.ended_at


def test_the_log_is_what_the_job_printed_on_both_streams(world: World) -> None:
    assert world.run("echo out; echo err >&2; printf 'no newline\\377'") == b"out\nerr\nno newline\xff"


VALUES = (
    *("plain", "", "$(id)", "`id`", "$HOME ${HOME}", "\"double\" 'single'", "line\nbreak\n", "a,b=c:d;e&f|g", "näme ✓"),
    *("back\\slash \\n", "  space  ", "-rf", "!x", "* ? [a]", "\ttab", "x" * 20_000),
)


def test_environment_values_arrive_byte_for_byte_and_are_not_evaluated(world: World) -> None:
    env = {f"VALUE_{index}": value for index, value in enumerate(VALUES)}
    script = "; ".join(f'printf "%s\\0" "$VALUE_{index}"' for index in range(len(VALUES)))
    printed = world.run(script, env=env).split(b"\0")[:-1]
    assert printed == [value.encode() for value in VALUES]


def test_words_of_the_command_arrive_byte_for_byte_and_are_not_evaluated(world: World) -> None:
    words = tuple(value for value in VALUES if len(value) < 100)
    script = 'for word in "$@"; do printf "%s\\0" "$word"; done'
    printed = world.run("", command=("sh", "-c", script, "sh", *words)).split(b"\0")[:-1]
    assert printed == [word.encode() for word in words]


def test_the_agents_own_environment_stays_outside(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_TOKEN", "the agent's")
    assert world.run('echo "${AGENT_TOKEN-none}"') == b"none\n"


def test_the_working_directory_is_below_the_home_and_writable(world: World) -> None:
    world.run("echo here > file; echo above > ../file", workdir="sub")
    assert (world.work() / "sub/file").read_text() == "here\n"
    assert (world.work() / "file").read_text() == "above\n"


def test_what_runs_is_running_and_what_was_never_started_is_absent(world: World) -> None:
    world.start("echo up; sleep 600")
    world.logged(b"up")
    assert world.runtime.status("job.1") == RUNNING
    assert world.runtime.status("job.1", timeout=0.05) == RUNNING
    assert world.runtime.status("job.2") == ABSENT
    assert world.runtime.status("job.2", timeout=DEADLINE) == ABSENT


def test_a_job_that_takes_longer_than_its_timeout_is_ended(world: World) -> None:
    world.start("trap 'echo late; exit 3' TERM; sleep 600 & wait", timeout=1.0)
    ended = world.ended()
    assert (ended.why, ended.exit_code, ended.started) == ("timeout", 3, True)
    assert world.log() == b"late\n"


def test_a_stopped_job_gets_term_and_the_reason_stays(world: World) -> None:
    world.start("trap 'echo saved; exit 9' TERM; echo up; sleep 600 & wait")
    world.logged(b"up")
    world.runtime.stop("job.1", "cancelled", 10.0)
    ended = world.ended()
    assert (ended.why, ended.exit_code, world.log()) == ("cancelled", 9, b"up\nsaved\n")


def test_a_job_that_ignores_term_is_killed_after_its_grace(world: World, token: str) -> None:
    world.start(f"trap '' TERM; sleep {token} & echo up; while :; do sleep {token}; done")
    world.logged(b"up")
    world.runtime.stop("job.1", "cancelled", 0.3)
    ended = world.ended()
    assert ended.why == "cancelled"
    assert (ended.exit_code, ended.signal) in ((137, None), (None, 9))
    wait_until(lambda: not named(token), 10, "nothing of the job is left")


def test_stopping_what_is_over_or_was_never_started_changes_nothing(world: World) -> None:
    world.run("true")
    before = world.ended()
    world.runtime.stop("job.1", "cancelled", 0.0)
    world.runtime.stop("job.2", "cancelled", 0.0)
    assert world.ended() == before
    assert world.runtime.status("job.2") == ABSENT


def test_starting_again_starts_nothing(world: World) -> None:
    spec = world.spec("echo started >> count; echo up; sleep 0.2")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(world.runtime.start, [spec] * 4))
    first = world.ended()
    world.runtime.start(spec)
    assert world.ended() == first
    assert (world.work() / "count").read_text() == "started\n"


def test_jobs_run_side_by_side_and_end_apart(world: World) -> None:
    for number in (1, 2, 3):
        world.start(f"exit {number}", f"job.{number}")
    assert [world.ended(f"job.{number}").exit_code for number in (1, 2, 3)] == [1, 2, 3]


def test_removing_ends_the_job_leaves_nothing_and_may_be_repeated(world: World, token: str) -> None:
    world.start(f"trap '' TERM; sleep {token} & echo up; while :; do sleep {token}; done")
    world.logged(b"up")
    for _ in range(2):
        world.runtime.remove("job.1")
        assert named(token) == []
    shutil.rmtree(world.state / "attempts/job.1")
    assert world.runtime.status("job.1") == ABSENT
    world.runtime.remove("job.1")
    world.runtime.remove("never.1")


# --- the fake and containers ---------------------------------------------------------------------------------------


@pytest.fixture(params=["local", "container"])
def imaged(request: pytest.FixtureRequest) -> World:
    found: World = request.getfixturevalue(request.param)
    return found


def test_a_command_that_is_not_there_was_started_and_ends_with_255(imaged: World) -> None:
    imaged.start("", command=("no-such-program", "argument"))
    ended = imaged.ended()
    assert (ended.exit_code, ended.why, ended.started) == (255, "exited", True)
    assert b"no-such-program" in imaged.log()


def test_an_image_that_is_not_there_was_never_started(imaged: World) -> None:
    imaged.start("true", image=imaged.image.with_name("missing.sif"))
    ended = imaged.ended()
    assert (ended.started, ended.why) == (False, "exited")
    assert ended.exit_code != 0


# --- plain processes only -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("no-such-program", "argument"), ("./no-such-file",), ("./file",), ("no=thing",)])
def test_a_program_that_cannot_be_executed_is_the_jobs_own_failure(plain: World, command: tuple[str, ...]) -> None:
    spec = plain.spec("", command=command)
    (plain.work() / "file").write_text("#!/no/such/interpreter\n")
    (plain.work() / "file").chmod(0o755)
    plain.runtime.start(spec)
    ended = plain.ended()
    assert (ended.exit_code, ended.why, ended.started, ended.error) == (127, "exited", True, None)
    assert command[0].encode() in plain.log()


def test_what_the_holder_cannot_set_up_was_never_started(plain: World) -> None:
    plain.start("true", workdir="no/such/directory")
    ended = plain.ended()
    assert (ended.exit_code, ended.started) == (None, False)
    assert "no/such/directory" in (ended.error or "")


def test_a_job_without_a_command_is_refused_as_it_is_written(plain: World) -> None:
    with pytest.raises(JobFault, match="no command"):
        plain.start("", command=None)
    assert plain.runtime.status("job.1") == ABSENT


def test_python_is_that_of_the_environment_whatever_path_the_job_sets(plain: World) -> None:
    script = "import sys, os; print(sys.prefix, sys.executable, os.environ['VIRTUAL_ENV'])"
    for attempt, env in (("job.1", {}), ("job.2", {"PATH": "/usr/bin:./bin"})):
        printed = plain.run("", attempt, command=("python", "-c", script), env=env).decode().split()
        assert printed == [str(plain.image), f"{plain.image}/bin/python", str(plain.image)]


def test_programs_on_a_relative_path_are_those_below_the_working_directory(plain: World) -> None:
    spec = plain.spec("", command=("tool",), env={"PATH": "./bin:/usr/bin:/bin"}, workdir="sub")
    (plain.work() / "sub/bin").mkdir()
    (plain.work() / "sub/bin/tool").write_text("#!/bin/sh\necho my tool\n")
    (plain.work() / "sub/bin/tool").chmod(0o755)
    plain.runtime.start(spec)
    assert plain.ended().exit_code == 0
    assert plain.log() == b"my tool\n"


def test_the_environment_is_a_short_list(plain: World) -> None:
    printed = plain.run("", command=("env",), env={"SEED": "3"}, homes=("STUDIOML_HOME",)).decode()
    directory = plain.state / "attempts/job.1"
    assert dict(line.split("=", 1) for line in printed.splitlines()) == {
        "PATH": f"{plain.image}/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": f"{directory}/work",
        "TMPDIR": str(directory / "tmp"),
        "STUDIOML_HOME": f"{directory}/work",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "VIRTUAL_ENV": str(plain.image),
        "SEED": "3",
    }


def test_daemons_in_sessions_of_their_own_end_with_the_job(plain: World, token: str) -> None:
    daemon = f"(setsid sh -c 'trap \"\" TERM; (setsid sleep {token} &); echo $0 up; sleep {token}' daemon &)"
    plain.start(f"{daemon}; sleep 600")
    plain.logged(b"daemon up")
    plain.runtime.stop("job.1", "cancelled", 5.0)
    assert plain.ended().why == "cancelled"
    assert named(token) == []
    plain.start(f"{daemon}; while ! [ -s ../log ]; do sleep 0.01; done", "job.2")
    assert (plain.ended("job.2").exit_code, named(token)) == (0, [])


@pytest.mark.parametrize("kind", ["container", "plain"])
def test_the_use_of_a_job_is_measured(request: pytest.FixtureRequest, kind: str) -> None:
    world: World = request.getfixturevalue(kind)
    told = told_cpu_s(world.run(f"dd if=/dev/zero of=/dev/null bs=80M count=1 2>&1; {BURN}"))
    used = world.ended().usage
    assert used is not None
    assert None not in (used.cpu_s, used.peak_memory_bytes, used.wall_s)
    assert 0.9 * told <= (used.cpu_s or 0.0) <= 2 * told + 5
    assert 80 * 1024**2 < (used.peak_memory_bytes or 0) < 300 * 1024**2
    assert (used.wall_s or 0.0) > 0.5 * told
    assert (used.gpu_memory_bytes, used.gpu_utilization) == (None, None)


def test_a_job_that_takes_more_memory_than_it_asked_for_is_ended(plain: World) -> None:
    script = "import time; held = b'x' * (200 << 20); print('held'); time.sleep(600)"
    plain.start("", command=("python", "-c", script), memory=100 << 20)
    ended = plain.ended()
    assert (ended.why, ended.started) == ("memory", True)


def test_plain_processes_need_nothing_of_a_container_and_leave_nothing(plain: World) -> None:
    plain.run("true")
    plain.runtime.remove("job.1")
    directory = plain.state / "attempts/job.1"
    assert sorted(path.name for path in directory.iterdir()) == ["exit.json", "lock", "log", "run.json", "tmp", "work"]
    groups = job_groups(plain.state)
    assert groups is None or not (groups / "job.1").exists()


@pytest.mark.parametrize("trusted", [True, False])
def test_a_faulty_host_without_a_runtime_tries_itself_the_way_its_jobs_run(plain: World, trusted: bool) -> None:
    nowhere = RuntimeSection(path=str(plain.state / "no-runtime"))
    config = Config(AgentSection(str(plain.state)), runtime=nowhere, studioml=StudioMLSection(trusted=trusted))
    if trusted:
        run_trial(config, plain.runtime, plain.state)
    else:
        with pytest.raises(RuntimeUnavailable, match="no apptainer"):
            run_trial(config, plain.runtime, plain.state)
    assert not list((plain.state / "attempts").glob("*"))


def test_a_new_runtime_sees_a_plain_process_and_can_stop_it(plain: World) -> None:
    plain.start("trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done")
    plain.logged(b"up")
    later = ApptainerRuntime(plain.state, lambda: None)
    assert later.status("job.1") == RUNNING
    later.stop("job.1", "lease-lost", 10.0)
    ended = later.status("job.1", DEADLINE).exit
    assert ended is not None
    assert (ended.exit_code, ended.why) == (9, "lease-lost")


# --- containers only ------------------------------------------------------------------------------------------------


def test_without_a_command_the_images_runscript_runs(container: World, tmp_path: Path, apptainer: str) -> None:
    root, image = tmp_path / "root", tmp_path / "own.sif"
    make_root(root)
    (root / ".singularity.d").mkdir()
    (root / ".singularity.d/runscript").write_text('#!/bin/sh\necho "runscript $#"\n')
    (root / ".singularity.d/runscript").chmod(0o755)
    assert run_program((apptainer, "build", str(image), str(root)), 60).status == 0
    assert container.run("", command=None, image=image) == b"runscript 0\n"


def test_a_broken_image_was_never_started_and_its_log_says_why(container: World, tmp_path: Path) -> None:
    broken = tmp_path / "broken.sif"
    broken.write_bytes(container.image.read_bytes()[:20_000])
    container.start("true", image=broken)
    ended = container.ended()
    assert (ended.exit_code, ended.started) == (255, False)
    assert b"FATAL" in container.log()


def test_a_new_runtime_sees_what_runs_its_end_and_can_stop_it(container: World) -> None:
    script = "trap 'exit 9' TERM; echo up; while [ ! -e go ]; do sleep 0.05; done; exit 4"
    for attempt in ("job.1", "job.2"):
        container.start(script, attempt)
        container.logged(b"up", attempt)
    later = apptainer_runtime(container.state)
    assert later.status("job.1") == later.status("job.2") == RUNNING
    (container.work("job.1") / "go").touch()
    later.stop("job.2", "lease-lost", 10.0)
    first, second = (later.status(attempt, DEADLINE).exit for attempt in ("job.1", "job.2"))
    assert first is not None
    assert second is not None
    assert (first.exit_code, first.why) == (4, "exited")
    assert (second.exit_code, second.why) == (9, "lease-lost")
    later.start(container.spec(script))
    assert later.status("job.1").exit == first


def test_a_job_sees_its_own_directories_and_no_others(container: World) -> None:
    container.start("echo secret > file; echo up; sleep 600", "other.1")
    container.logged(b"up", "other.1")
    others = container.work("other.1")
    script = f"echo $HOME; pwd; ls -A; ls {others} {container.state} {others.parent}/log 2>&1; echo; ls -A /tmp"
    printed = container.run(script, workdir="sub").decode()
    assert printed.startswith("/home/job\n/home/job/sub\n")
    assert printed.count("No such file") == 3
    assert "secret" not in printed
    assert "file" not in printed.replace("No such file", "")


def test_a_job_has_a_tmp_of_its_own(container: World) -> None:
    container.run("echo a > /tmp/a; echo b > /var/tmp/b")
    assert container.run("ls -A /tmp /var/tmp", "other.1") == b"/tmp:\n\n/var/tmp:\n"
    assert not Path("/tmp/a").exists()  # noqa: S108 - the host's, which the job must not reach


def test_a_job_sees_no_process_but_its_own(container: World) -> None:
    container.start("echo up; sleep 600", "other.1")
    container.logged(b"up", "other.1")
    printed = container.run("for each in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $each; echo; done").decode()
    assert "sleep 600" not in printed


def test_the_network_is_off_unless_it_is_the_hosts(container: World) -> None:
    script = "while read name rest; do echo $name; done < /proc/net/dev; ls -l /proc/self/ns/net"
    host = str(Path("/proc/self/ns/net").readlink())
    alone = container.run(script, "alone.1", network="none").decode()
    shared = container.run(script, "shared.1", network="host").decode()
    assert [line for line in alone.splitlines() if line.endswith(":")] == ["lo:"]
    assert host not in alone
    assert host in shared


def test_secrets_are_readable_and_cannot_be_changed(container: World, tmp_path: Path) -> None:
    secrets = container.state / "attempts/job.1/secrets"
    secrets.mkdir(parents=True)
    (secrets / "TOKEN").write_text("s3cret\n")
    (secrets / "TOKEN").chmod(0o400)
    script = "cat /run/secrets/TOKEN; (echo x > /run/secrets/TOKEN || rm -f /run/secrets/TOKEN || "
    script += "echo x > /run/secrets/NEW) 2>/dev/null || echo kept"
    assert container.run(script, secrets=secrets) == b"s3cret\nkept\n"
    assert (secrets / "TOKEN").read_text() == "s3cret\n"
    assert container.run("ls /run/secrets 2>/dev/null || echo none", "other.1") == b"none\n"


def test_nothing_secret_is_on_the_command_line(container: World, token: str) -> None:
    container.start("echo up; sleep 600", env={"PASSWORD": token})
    container.logged(b"up")
    assert named(token) == []


def test_the_control_groups_are_out_of_reach(container: World) -> None:
    script = "ls -A /sys; ls /sys/fs/cgroup >/dev/null 2>&1 && echo reached; true"
    assert container.run(script) == b""


def test_the_image_cannot_be_written_to(container: World) -> None:
    assert container.run("(echo x > /bin/x) 2>/dev/null || echo read-only") == b"read-only\n"


def test_the_log_ends_at_its_limit_and_the_job_goes_on(container: World) -> None:
    printed = container.run("seq 100000; echo end > file", log_limit=1000)
    assert printed.startswith(b"1\n2\n3\n")
    assert b"truncated after 1000 bytes" in printed
    assert len(printed) < 1100
    assert (container.work() / "file").read_text() == "end\n"


def test_variables_for_the_home_have_it_as_the_container_sees_it(container: World) -> None:
    printed = container.run('echo "$STUDIOML_HOME $HOME"', env={"STUDIOML_HOME": "/x"}, homes=("STUDIOML_HOME",))
    assert printed == b"/home/job /home/job\n"


def test_the_job_cannot_undo_that_it_was_started(container: World) -> None:
    container.start("rm -rf /.edge-agent/marker 2>/dev/null; : > /.edge-agent/marker; exit 255")
    ended = container.ended()
    assert (ended.exit_code, ended.started) == (255, True)


def test_a_container_without_memory_is_ended_and_says_so(container: World) -> None:
    """Here the limit is the kernel's or the waiter's, as the machine allows."""
    container.start("dd if=/dev/zero of=/dev/null bs=200M count=9999; sleep 600", memory=64 << 20)
    assert container.ended().why == "memory"


@pytest.mark.parametrize("place", [".", "/tmp"])  # noqa: S108 - the container's own
def test_a_container_that_fills_the_disk_is_ended(container: World, place: str) -> None:
    script = f"cd {place}; n=0; while :; do n=$((n+1)); dd if=/dev/zero of=$n bs=1M count=2 2>/dev/null; done"
    container.start(script, disk=32 << 20)
    assert container.ended().why == "disk"


def test_nothing_is_left_of_a_job_not_even_its_control_group(container: World) -> None:
    container.run("true")
    container.runtime.remove("job.1")
    groups = job_groups(container.state)
    assert groups is None or not (groups / "job.1").exists()
    assert str(container.state) not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize("name", ['quoted "state"', "white space", "$(id) `id`", "näme", "s" * 150])
def test_any_state_directory_will_do(tmp_path: Path, sif: Path, name: str) -> None:
    state = tmp_path / name
    state.mkdir()
    world = World(state, apptainer_runtime(state), sif)
    try:
        assert world.run('cat ../tmp/x 2>/dev/null; echo $PWD; echo x > "$HOME/file"') == b"/home/job\n"
        assert (world.work() / "file").read_text() == "x\n"
    finally:
        world.runtime.remove("job.1")
        apptainer_runtime(state).end()


def test_a_host_without_a_runtime_says_so_and_what_to_do(tmp_path: Path, sif: Path) -> None:
    world = World(tmp_path, ApptainerRuntime(tmp_path, lambda: None), sif)
    with pytest.raises(RuntimeUnavailable, match=r"no apptainer .*runtime\.path"):
        world.start("true")
    assert world.runtime.status("job.1") == ABSENT


def test_a_holder_that_cannot_be_started_is_told_in_the_agents_words(tmp_path: Path, sif: Path) -> None:
    (tmp_path / "holder.log").mkdir()
    world = World(tmp_path, apptainer_runtime(tmp_path), sif)
    with pytest.raises(RuntimeUnavailable, match="the holder of the jobs: the holder has no usable state directory"):
        world.start("true")


def test_a_directory_that_cannot_be_written_to_is_told_in_the_agents_words(tmp_path: Path, sif: Path) -> None:
    world = World(tmp_path, apptainer_runtime(tmp_path), sif)
    spec = world.spec("true")
    shutil.rmtree(spec.directory)
    with pytest.raises(RuntimeUnavailable, match=r"mark\.sh"):
        world.runtime.start(spec)


# --- devices --------------------------------------------------------------------------------------------------------


def test_a_container_has_the_nodes_and_files_that_it_was_granted_and_no_other(container: World, tmp_path: Path) -> None:
    library = tmp_path / "libx, of the host.so"
    library.write_text("the host's\n")
    granted = Devices(("/dev/full",), (Mount(str(library), "/.singularity.d/libs/libx.so.1"),))
    script = "echo /dev/full*; cat /.singularity.d/libs/libx.so.1; head -c 3 /dev/full | wc -c"
    assert container.run(script, devices=granted) == b"/dev/full\nthe host's\n3\n"
    assert container.run("echo /dev/full*", "job.2") == b"/dev/full*\n"


def test_what_is_granted_can_be_changed_only_where_that_was_granted(container: World, tmp_path: Path) -> None:
    for name in ("closed", "open"):
        (tmp_path / name).write_text("before\n")
    mounts = (Mount(str(tmp_path / "closed"), "/closed"), Mount(str(tmp_path / "open"), "/open", writable=True))
    container.run("echo after > /open; ! echo after > /closed", devices=Devices((), mounts))
    assert [(tmp_path / name).read_text() for name in ("closed", "open")] == ["before\n", "after\n"]
