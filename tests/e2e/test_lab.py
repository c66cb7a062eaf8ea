"""`edge-agent lab`: MinIO and Mosquitto on this machine, a queue on them, and a job through it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent import lab as labs

from tests.e2e.plain_user import USER, as_plain_user
from tests.e2e.site import COMMAND, TIMEOUT, Site
from tests.servers import INSTALL, answers, free_port
from tests.waiting import wait_until

TOP = Path(__file__).parents[2]


class Lab:
    """A lab directory, and the command on it with MinIO on PATH."""

    def __init__(self, directory: Path, programs: Path) -> None:
        self.directory = directory
        self.config = directory / "config.toml"
        self.minio_port, self.mqtt_port = free_port(), free_port()
        self.env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}

    def run(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        argv = [str(COMMAND), "lab", words[0], "--dir", str(self.directory), *words[1:]]
        given = {"env": self.env, "capture_output": True, "text": True, "timeout": TIMEOUT, "check": False, **options}
        return subprocess.run(argv, **given)

    def up(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        ports = ("--minio-port", str(self.minio_port), "--mqtt-port", str(self.mqtt_port))
        return self.run("up", *ports, *words, **options)

    def secrets(self) -> list[str]:
        return [path.read_text() for path in (self.directory / "secrets").iterdir()]

    def pids(self) -> tuple[int, int]:
        found = labs.load(self.directory)
        assert found is not None
        return found.minio.pid, found.mosquitto.pid


@pytest.fixture
def lab(tmp_path: Path, tools_cache: Path) -> Iterator[Lab]:
    """A lab that is not up yet; at the end it is down."""
    assert (tools_cache / "bin/minio").exists(), f"MinIO is missing; {INSTALL}"
    made = Lab(tmp_path / "lab", tools_cache / "bin")
    yield made
    labs.down(made.directory)


@pytest.fixture
def running(lab: Lab) -> Lab:
    done = lab.up()
    assert done.returncode == 0, done.stderr
    return lab


def on_lab(site: Site, lab: Lab) -> Site:
    """Return the site, configured by the lab's file and with an identity and share of its own."""
    own = site.config.read_text().partition("[[queues]]")[0]
    site.config.write_text(own + lab.config.read_text())
    return site


def test_a_job_goes_through_the_lab_and_the_fleet_shows_its_host(running: Lab, site: Site) -> None:
    host = on_lab(site, running)
    with host.agent():
        sid = host.submit("echo made here > out")
        host.wait_state(sid, "succeeded", timeout=15)  # the bell rings: by looking alone it may take 30 s
        hosts = json.loads(host.call("fleet", "--json", "--wait", "0.3"))["hosts"]
        assert [(each["id"], each["state"]) for each in hosts] == [("host-a", "ready")]
    host.call("results", sid, "--to", str(host.folder / "here"))
    assert (host.folder / "here/out").read_text() == "made here\n"
    assert host.call("doctor").count("ok ") >= 10


def test_status_says_what_runs(running: Lab) -> None:
    assert json.loads(running.run("status", "--json").stdout) == {"minio": True, "mosquitto": True}
    os.kill(running.pids()[1], 9)
    wait_until(lambda: running.run("status").returncode == 1)
    assert "does not run" in running.run("status").stdout


def test_a_second_up_changes_nothing_and_takes_the_ports_from_the_first(running: Lab) -> None:
    before, secrets = running.pids(), running.secrets()
    again = running.run("up", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == {
        "directory": str(running.directory),
        "config": str(running.config),
        "running": {"minio": True, "mosquitto": True},
    }
    assert (running.pids(), running.secrets()) == (before, secrets)


def test_a_running_lab_is_not_moved_to_other_ports(running: Lab) -> None:
    done = running.run("up", "--minio-port", str(free_port()))
    assert done.returncode == 2
    assert "`edge-agent lab down` first" in done.stderr


def test_what_one_server_lost_the_next_up_brings_back(running: Lab) -> None:
    os.kill(running.pids()[0], 9)
    wait_until(lambda: not answers(running.minio_port))
    assert running.run("up").returncode == 0
    assert answers(running.minio_port)
    assert answers(running.mqtt_port)


def test_jobs_stay_over_down_and_up(running: Lab, site: Site) -> None:
    host = on_lab(site, running)
    sid = host.submit()
    assert running.run("down").stdout == "stopped\n"
    assert not answers(running.minio_port)
    assert not answers(running.mqtt_port)
    assert running.run("down").stdout == "nothing ran\n"
    assert running.run("up").returncode == 0
    assert host.state_of(sid) == "waiting"


def test_the_credentials_are_in_no_process_list_and_for_their_owner_only(running: Lab) -> None:
    shown = _command_lines()
    secrets = running.secrets()
    assert len(set(secrets)) == 2
    assert all(len(secret) >= 32 for secret in secrets)
    assert not [secret for secret in secrets for line in shown if secret.encode() in line]
    for path in (running.directory / "secrets").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert (running.directory / "secrets").stat().st_mode & 0o777 == 0o700
    told = running.config.read_text() + (running.directory / "mosquitto/passwords").read_text()
    assert not [secret for secret in secrets if secret in told]


def _command_lines() -> list[bytes]:
    lines = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # it may end while it is looked at
            lines.append((process / "cmdline").read_bytes())
    return lines


def test_strangers_are_refused_by_both_servers(running: Lab, site: Site) -> None:
    host = on_lab(site, running)
    text = host.config.read_text()
    for name in ("minio-password", "mqtt-password"):
        wrong = running.directory / f"wrong-{name}"
        wrong.write_text("not the password")
        text = text.replace(str(running.directory / "secrets" / name), str(wrong))
    host.config.write_text(text)
    rows = json.loads(host.run("doctor", "--json").stdout)
    failures = {row["check"] for row in rows if row["status"] == "failure"}
    assert failures == {"queue lab", "results lab", "artifacts lab", "broker"}


def test_a_missing_program_is_named_with_the_way_to_get_it(lab: Lab, tmp_path: Path) -> None:
    done = lab.up(env={**lab.env, "PATH": str(tmp_path / "none")})
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert f"minio (go install github.com/minio/minio@{labs.MINIO_VERSION}" in done.stderr


@pytest.mark.parametrize("which", ["minio_port", "mqtt_port"])
def test_a_port_that_is_taken_is_one_line_and_nothing_runs_on(lab: Lab, which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        setattr(lab, which, other.getsockname()[1])
        done = lab.up()
        assert done.returncode == 3
        line = f"127.0.0.1:{getattr(lab, which)}: Address already in use; choose another port or address"
        assert done.stderr == f"edge-agent: {line}\n"
    assert not answers(lab.minio_port)
    assert not answers(lab.mqtt_port)


def test_a_server_that_ends_at_once_is_told_with_its_last_words(lab: Lab, tmp_path: Path) -> None:
    fake = tmp_path / "programs/minio"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho no space for you\nexit 1\n")
    fake.chmod(0o755)
    done = lab.up(env={**lab.env, "PATH": f"{fake.parent}:{lab.env['PATH']}"})
    assert done.returncode == 3
    assert "minio does not start: no space for you" in done.stderr
    assert not answers(lab.mqtt_port)


def test_status_where_no_lab_ever_was(lab: Lab) -> None:
    done = lab.run("status")
    assert done.returncode == 1
    assert f"no lab was brought up in {lab.directory}" in done.stderr


def test_a_plain_user_can_have_a_lab(lab: Lab, tools_cache: Path) -> None:
    place = Path(tempfile.mkdtemp())  # where the user may go
    try:
        shutil.copy(tools_cache / "bin/minio", place / "minio")
        if os.geteuid() == 0:
            os.chown(place, USER, USER)
        env = {**lab.env, "HOME": str(place), "PATH": f"{place}:/usr/bin:/bin"}
        words = ["--dir", str(place / "lab"), "--minio-port", str(lab.minio_port), "--mqtt-port", str(lab.mqtt_port)]
        argv = as_plain_user(str(COMMAND), "lab", "up", *words)
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=TIMEOUT, check=False, cwd="/")
        assert done.returncode == 0, done.stderr
        assert answers(lab.mqtt_port)
    finally:
        labs.down(place / "lab")
        shutil.rmtree(place)


def test_the_version_of_minio_is_the_one_that_the_script_builds() -> None:
    assert f"minio_version={labs.MINIO_VERSION}\n" in (TOP / "packaging/install-lab.sh").read_text()
