"""The supervisor with real Apptainer containers, as this user and as one without any rights."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from agent.adapters.local_image import build_image
from agent.supervisor import processes
from agent.supervisor.client import Exited, Lost

from tests.supervision import (
    BURN,
    HOGS,
    LONG,
    MIB,
    Supervision,
    copy_of_the_package,
    kill,
    named,
    session_of,
    told_cpu_s,
    wrapper,
)
from tests.waiting import wait_until

NOBODY = 65534
ROUNDS = 20
KILLS = 50
SIDE_BY_SIDE = 6


@pytest.fixture(scope="session")
def image() -> Iterator[Path]:
    """Below /tmp and readable, since the user without rights must reach it."""
    folder = Path(tempfile.mkdtemp(prefix="edge-agent-images-"))
    folder.chmod(0o755)
    target = folder / "tiny.sif"
    build_image(target, "apptainer")
    target.chmod(0o644)
    yield target
    shutil.rmtree(folder)


@pytest.fixture(params=["this user", "a user without rights"])
def supervision(request: pytest.FixtureRequest) -> Iterator[Supervision]:
    folder = Path(tempfile.mkdtemp(prefix="edge-agent-supervisor-"))
    folder.chmod(0o755)
    as_nobody = request.param != "this user" and os.getuid() == 0
    supervision = _of_nobody(folder) if as_nobody else Supervision(folder)
    yield supervision
    supervision.close()
    shutil.rmtree(folder)


def _of_nobody(folder: Path) -> Supervision:
    """The holder runs as nobody, with an interpreter and a copy of the package that nobody can read."""
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    root = copy_of_the_package(folder / "release")
    python = wrapper(folder / "python", *become, _readable_python(become))
    supervision = Supervision(folder, python=python, root=str(root))
    for path in (supervision.state, supervision.attempts):
        os.chown(path, NOBODY, NOBODY)
    return supervision


def _readable_python(become: list[str]) -> str:
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        argv = [*become, python, "-I", "-S", "-c", "import sys; sys.exit(sys.version_info < (3, 10))"]
        if subprocess.run(argv, capture_output=True, timeout=20, check=False).returncode == 0:
            return python
    raise AssertionError("no Python 3.10 or later that user nobody may run: install the system's python3")


def launch(supervision: Supervision, attempt: str, image: Path, script: str, **changes: object) -> dict[str, object]:
    """A spec that runs `script` in a container, with the start marker that apptainer's own shell sets."""
    spec = supervision.spec(attempt, "/bin/true", marker=True, **changes)
    directory = supervision.attempts / attempt
    home, mark = directory / "home", directory / "mark.sh"
    home.mkdir()
    shutil.chown(home, supervision.state.stat().st_uid, supervision.state.stat().st_gid)
    mark.write_text("echo s > /.edge/marker\n")
    apptainer = shutil.which("apptainer")
    argv = f"{apptainer} -s exec --containall --cleanenv --no-eval --no-umask --uts".split()
    argv += ["--net", "--network", "none"]
    argv += ["--home", f"{home}:/home/job", "--pwd", "/home/job", "--no-mount", "sys,bind-paths"]
    argv += ["--mount", f"type=bind,src={directory}/marker,dst=/.edge/marker"]
    argv += ["--mount", f"type=bind,src={mark},dst=/.singularity.d/env/zz-edge.sh,ro"]
    return {**spec, "argv": [*argv, str(image), "sh", "-c", script]}


def stop(supervision: Supervision, attempt: str, why: str) -> None:
    """As the holder's own user: the waiter must be able to read the request."""
    program = f"import sys; sys.path.insert(0, {supervision.root!r});"
    program += "from agent.supervisor.client import HolderClient;"
    program += f"HolderClient({str(supervision.state)!r}).stop({attempt!r}, {why!r})"
    subprocess.run([supervision.python, "-I", "-S", "-c", program], cwd="/", timeout=20, check=True)


def test_container_ends_with_its_status_log_and_marker(supervision: Supervision, image: Path) -> None:
    supervision.client.start(launch(supervision, "a", image, "echo out; echo err >&2; id -u; exit 7"))
    result = supervision.ended("a")
    uid = supervision.state.stat().st_uid
    assert supervision.log("a") == b"out\nerr\n%d\n" % uid
    assert (result.exit_code, result.why, result.started, result.error) == (7, "exited", True, None)
    assert session_of(supervision.run_of("a")) == []


def test_container_that_cannot_be_set_up_has_no_marker(supervision: Supervision, image: Path) -> None:
    junk = supervision.folder / "junk.sif"
    junk.write_bytes(b"no image at all")
    supervision.client.start(launch(supervision, "a", junk, "exit 0"))
    result = supervision.ended("a")
    assert (result.exit_code, result.started) == (255, False)
    assert b"FATAL" in supervision.log("a")


def test_use_of_a_container_is_what_its_payload_says_and_the_runtimes_part(
    supervision: Supervision, image: Path
) -> None:
    supervision.client.start(launch(supervision, "a", image, f"{BURN}; {HOGS}", memory_bytes=1024 * MIB))
    used, told = supervision.ended("a").usage, told_cpu_s(supervision.log("a"))
    assert told > 0.1
    assert 0.9 * told <= used.user_s + used.system_s <= 2 * told + 5
    assert 110 * MIB < used.peak_memory_bytes < 400 * MIB


def test_payload_gets_term_and_its_answer_counts(supervision: Supervision, image: Path) -> None:
    script = f"trap 'echo saved; exit 9' TERM; echo up; sleep {LONG} & wait"
    supervision.client.start(launch(supervision, "a", image, script))
    supervision.logged("a", b"up")
    stop(supervision, "a", "cancelled")
    result = supervision.ended("a")
    assert (result.exit_code, result.why, supervision.log("a")) == (9, "cancelled", b"up\nsaved\n")


def test_payload_that_ignores_term_is_killed_with_its_daemons(supervision: Supervision, image: Path) -> None:
    token = f"{LONG}.{random.randrange(10**9):09d}"
    script = f"trap '' TERM; setsid sleep {token} & echo up; while :; do sleep {token}; done"
    supervision.client.start(launch(supervision, "a", image, script, timeout_s=1, grace_s=0.5))
    result = supervision.ended("a")
    assert (result.signal, result.why) == (signal.SIGKILL, "timeout")
    assert (named(token), session_of(supervision.run_of("a"))) == ([], [])


def test_container_of_a_killed_waiter_is_ended(supervision: Supervision, image: Path) -> None:
    token = f"{LONG}.{random.randrange(10**9):09d}"
    script = f"setsid sleep {token} & echo up; sleep {token}"
    supervision.client.start(launch(supervision, "a", image, script))
    supervision.logged("a", b"up")
    run = supervision.run_of("a")
    kill(run.waiter)
    wait_until(lambda: not named(token) and not session_of(run), 10)
    assert isinstance(supervision.client.read_status("a"), Lost)


def test_container_without_holder_and_waiter_is_removed(supervision: Supervision, image: Path) -> None:
    token = f"{LONG}.{random.randrange(10**9):09d}"
    script = f"setsid sleep {token} & echo up; sleep {token}"
    supervision.client.start(launch(supervision, "a", image, script))
    supervision.logged("a", b"up")
    run = supervision.run_of("a")
    supervision.kill_holder()
    kill(run.waiter)
    supervision.client.remove("a")
    assert (named(token), session_of(run)) == ([], [])


def _kill_somehow(supervision: Supervision, attempt: str, chance: random.Random) -> None:
    """End the attempt in one of the ways in which it may happen: asked for, or by a kill of any one of its parts."""
    run = supervision.run_of(attempt)
    way = chance.choice(("term", "term", "container", "member", "member", "waiter"))
    if way == "container":
        processes.send_signal(run.container, signal.SIGKILL)
    elif way == "waiter":
        processes.send_signal(run.waiter, signal.SIGKILL)
    else:
        for one in session_of(run) if way == "member" else ():
            if chance.random() < 0.3:
                processes.send_signal(one.identity, signal.SIGKILL)
        processes.send_signal(run.waiter, signal.SIGTERM)  # a payload may do without the ones that were killed


def _is_over(supervision: Supervision, attempt: str) -> bool:
    return isinstance(supervision.client.read_status(attempt), (Exited, Lost))


PAYLOADS = (
    "sleep {token}",
    "trap '' TERM; sleep {token} & while :; do sleep {token}; done",
    "setsid sleep {token} & setsid sh -c 'trap \"\" TERM; sleep {token}; sleep {token}' & sleep 0.3",
    "(setsid sh -c '(setsid sleep {token} &); (setsid sleep {token} &)' &); exit 3",
    "while :; do sleep 0.01; done",
)


def test_kills_at_random_moments_leave_no_process_and_no_mount(supervision: Supervision, image: Path) -> None:
    """A hundred for both users together."""
    token = f"{LONG}.{random.randrange(10**9):09d}"

    def one(number: int) -> None:
        attempt, own = f"k{number}", random.Random(f"kill {number}")
        script = own.choice(PAYLOADS).format(token=token)
        supervision.client.start(launch(supervision, attempt, image, script, grace_s=0.5))
        Event().wait(own.uniform(0, 0.8))
        _kill_somehow(supervision, attempt, own)
        wait_until(lambda: _is_over(supervision, attempt), 60, f"{attempt} is over: {script}")

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        list(pool.map(one, range(KILLS)))
    wait_until(lambda: not named(token), 10, "no process is left")
    for number in range(KILLS):
        assert session_of(supervision.run_of(f"k{number}")) == []
        supervision.client.remove(f"k{number}")
    assert named(str(supervision.attempts)) == []
    assert str(supervision.folder) not in Path("/proc/self/mountinfo").read_text()
    assert [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(image) in line] == []


def test_stop_at_any_moment_of_the_start_leaves_nothing(supervision: Supervision, image: Path) -> None:
    token = f"{LONG}.{random.randrange(10**9):09d}"
    for number in range(ROUNDS):
        attempt = f"a{number}"
        supervision.client.start(launch(supervision, attempt, image, f"sleep {token}", grace_s=3))
        Event().wait(random.uniform(0, 0.3))
        processes.send_signal(supervision.run_of(attempt).waiter, signal.SIGTERM)
        assert supervision.ended(attempt).why == "stopped"
        assert session_of(supervision.run_of(attempt)) == []
    assert named(token) == []
