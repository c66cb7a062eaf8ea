"""`edge-agent lab`: MinIO and Mosquitto on this machine, a queue on them, and a job through it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from agent import lab as labs
from agent.adapters.s3 import S3Artifacts, connect
from agent.cli.help import read_pages
from agent.config import load_config
from agent.errors import Unavailable
from agent.lab.certificates import authority_file, ensure
from agent.lab.units import DIRECTORY, units

from tests.e2e.plain_user import USER, as_plain_user
from tests.e2e.site import COMMAND, TIMEOUT, Site, to_toml
from tests.servers import INSTALL, answers, free_port
from tests.waiting import wait_until

TOP = Path(__file__).parents[2]


class Lab:
    """A lab directory, and the command on it with MinIO on PATH."""

    def __init__(self, directory: Path, programs: Path) -> None:
        self.directory = directory
        self.config = self.config_of("agent")
        self.minio_port, self.mqtt_port = free_port(), free_port()
        self.env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}

    def run(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        argv = [str(COMMAND), "lab", words[0], "--dir", str(self.directory), *words[1:]]
        given = {"env": self.env, "capture_output": True, "text": True, "timeout": TIMEOUT, "check": False, **options}
        return subprocess.run(argv, **given)

    def up(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        ports = ("--minio-port", str(self.minio_port), "--mqtt-port", str(self.mqtt_port))
        return self.run("up", *ports, *words, **options)

    def config_of(self, kind: str) -> Path:
        return self.directory / f"lab-{kind}.toml"

    def secrets(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in (self.directory / "secrets").iterdir()}

    def by(self, kind: str, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command as somebody who has nothing but the one file."""
        argv = [str(COMMAND), "--config", str(self.config_of(kind)), *words]
        given = {"capture_output": True, "text": True, "timeout": TIMEOUT, "check": False, **options}
        return subprocess.run(argv, **given)

    def submit(self, job: dict[str, Any]) -> str:
        """Submit the job by the rights of those who may; return its id."""
        done = self.by("submit", "submit", "-", input=to_toml(job))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def pids(self) -> tuple[int, int]:
        found = labs.load(self.directory)
        assert found is not None
        assert found.minio is not None
        assert found.mosquitto is not None
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


def test_one_file_is_all_that_agents_submitters_and_operators_need(running: Lab, site: Site) -> None:
    host = on_lab(site, running)
    here = host.folder / "here"
    with host.agent():
        sid = running.submit(host.job("echo made here > out", outputs=[{"path": "out"}]))
        host.wait_state(sid, "succeeded")
        fleet = running.by("operator", "fleet", "--json", "--wait", "0.3")
        hosts = json.loads(fleet.stdout)["hosts"]
        assert [(each["id"], each["state"]) for each in hosts] == [("host-a", "ready")]
        assert json.loads(running.by("submit", "fleet", "--json", "--wait", "0.3").stdout)["hosts"] == []
    assert running.by("submit", "results", sid, "--to", str(here)).returncode == 0
    assert (here / "out").read_text() == "made here\n"
    assert host.call("doctor").count("ok ") >= 10


def test_who_submits_may_cancel_what_waits(running: Lab, site: Site) -> None:
    sid = running.submit(site.job("true"))
    assert running.by("submit", "cancel", sid).returncode == 0
    assert json.loads(running.by("submit", "status", sid, "--json").stdout)["state"] == "cancelled"


def test_inputs_and_outputs_may_lie_beside_the_queue(running: Lab, site: Site) -> None:
    host = on_lab(site, running)
    uri = "s3://edge-lab/files/"
    store = running_store(running, "submit")
    store.write(f"{uri}in", [b"from the lab"])
    files = {"inputs": [{"uri": f"{uri}in", "path": "in"}], "outputs": [{"path": "out", "uri": f"{uri}out"}]}
    sid = running.submit(host.job("cp in out", **files))
    host.until_empty()
    assert host.state_of(sid) == "succeeded"
    with store.open(f"{uri}out") as stream:
        assert stream.read() == b"from the lab"


def running_store(lab: Lab, kind: str) -> S3Artifacts:
    """Return the objects beside the queue, by the rights of one file."""
    section = load_config(lab.config_of(kind), {}, {}).config.s3
    return S3Artifacts(connect(section, {}), ["s3://edge-lab/files/"])


def test_a_server_of_another_authority_is_not_trusted(running: Lab, site: Site) -> None:
    host = on_lab(site, running)
    other = host.folder / "other"
    for name in ("authority", "certificates"):
        (other / name).mkdir(parents=True)
    ensure(other, ["127.0.0.1"], datetime.now(timezone.utc))
    ours, theirs = authority_file(running.directory).read_text(), authority_file(other).read_text()
    assert host.config.read_text().count(ours) == 2
    host.config.write_text(host.config.read_text().replace(ours, theirs))
    rows = {row["check"]: row for row in json.loads(host.run("doctor", "--json").stdout)}
    assert rows["queue lab"]["status"] == rows["broker"]["status"] == "failure"
    assert "certificate" in rows["queue lab"]["message"]
    assert "its certificate is not trusted" in rows["broker"]["message"]


def test_a_lab_on_all_addresses_must_be_told_by_which_name_boards_reach_it(lab: Lab) -> None:
    done = lab.up("--address", labs.EVERYWHERE)
    assert done.returncode == 2
    assert "--name" in done.stderr
    done = lab.up("--address", labs.EVERYWHERE, "--name", "localhost")
    assert done.returncode == 0, done.stderr
    assert f'endpoint = "https://localhost:{lab.minio_port}"' in lab.config.read_text()
    assert lab.by("operator", "fleet", "--wait", "0.1").returncode == 0


def test_another_address_gets_another_certificate_of_the_same_authority(running: Lab) -> None:
    before = authority_file(running.directory).read_text()
    running.run("down")
    assert running.up("--name", "localhost").returncode == 0
    assert authority_file(running.directory).read_text() == before
    assert running.by("operator", "fleet", "--wait", "0.1").returncode == 0


def test_status_says_what_runs(running: Lab) -> None:
    found = json.loads(running.run("status", "--json").stdout)
    assert found["running"] == {"minio": True, "mosquitto": True}
    assert date.fromisoformat(found["certified_until"]) > date.today() + timedelta(days=300)  # noqa: DTZ011
    os.kill(running.pids()[1], 9)
    wait_until(lambda: running.run("status").returncode == 1)
    assert "does not run" in running.run("status").stdout


def test_a_second_up_changes_nothing_and_takes_the_ports_from_the_first(running: Lab) -> None:
    before, secrets = running.pids(), running.secrets()
    again = running.run("up", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == {
        "directory": str(running.directory),
        "configs": {kind: str(running.config_of(kind)) for kind in ("agent", "submit", "operator")},
        **json.loads(running.run("status", "--json").stdout),
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
    sid = running.submit(host.job("true"))
    assert running.run("down").stdout == "stopped\n"
    assert not answers(running.minio_port)
    assert not answers(running.mqtt_port)
    assert running.run("down").stdout == "nothing ran\n"
    assert running.run("up").returncode == 0
    assert host.state_of(sid) == "waiting"


def test_the_credentials_are_in_no_process_list_and_for_their_owner_only(running: Lab) -> None:
    shown = _command_lines()
    secrets = set(running.secrets().values())
    assert len(secrets) == 7  # MinIO's administrator, and three accounts on two servers
    assert all(len(secret) >= 32 for secret in secrets)
    assert not [secret for secret in secrets for line in shown if secret.encode() in line]
    assert running.directory.stat().st_mode & 0o777 == 0o700
    keys = [running.directory / "authority/ca.key", running.directory / "certificates/private.key"]
    files = [*(running.directory / "secrets").iterdir(), *running.directory.glob("*.toml"), *keys]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    told = (running.directory / "mosquitto/passwords").read_text()
    assert not [secret for secret in secrets if secret in told]


@pytest.mark.parametrize("kind", ["agent", "submit", "operator"])
def test_a_file_holds_the_credentials_of_its_user_and_no_others(running: Lab, kind: str) -> None:
    text = running.config_of(kind).read_text()
    held = {name for name, secret in running.secrets().items() if secret in text}
    assert held == {f"s3-{kind}", f"mqtt-{kind}"}
    assert "PRIVATE KEY" not in text


def _command_lines() -> list[bytes]:
    lines = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # it may end while it is looked at
            lines.append((process / "cmdline").read_bytes())
    return lines


def test_strangers_are_refused_by_both_servers(running: Lab, site: Site) -> None:
    host = on_lab(site, running)
    text = host.config.read_text()
    for name in ("s3-agent", "mqtt-agent"):
        text = text.replace(running.secrets()[name], "not the password")
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


def commands_of(page: str) -> list[list[str]]:
    """Return the words of the command lines in the examples of a page, in their order."""
    return [shlex.split(line) for line in re.findall(r"(?m)^    edge-agent (.*)$", read_pages()[page])]


def test_every_command_of_the_page_does_what_it_says(lab: Lab, site: Site) -> None:
    """The page's lab is at another address and place, and is brought up with other ports."""
    places = {"/srv/lab": str(lab.directory), "/var/lib/edge-lab": str(lab.directory), "192.168.1.10": "127.0.0.1"}
    (site.folder / "job.toml").write_text(to_toml(site.job("true", name="first")))
    variables = {
        "EDGE_AGENT_AGENT__STATE_DIR": str(site.state),
        "EDGE_AGENT_AGENT__ID": "board-1",
        "EDGE_AGENT_RESOURCES__CPUS": "1",
        "EDGE_AGENT_RESOURCES__MEMORY": "256MiB",
        "EDGE_AGENT_RESOURCES__DISK_RESERVE": "16MiB",
    }
    agents: list[subprocess.Popen[bytes]] = []
    ran: list[str] = []
    try:
        for words in commands_of("lab"):
            argv = [str(COMMAND), *(places.get(word, word) for word in words)]
            if words[:2] in (["lab", "up"], ["lab", "files"]):
                argv += ["--minio-port", str(lab.minio_port), "--mqtt-port", str(lab.mqtt_port)]
            for kind in ("agent", "submit", "operator"):
                argv = [str(lab.config_of(kind)) if word == f"lab-{kind}.toml" else word for word in argv]
            options: dict[str, Any] = {"env": {**lab.env, **variables}, "cwd": site.folder}
            if words[-1] == "run":
                agents.append(subprocess.Popen(argv, stderr=subprocess.DEVNULL, **options))
                wait_until(lambda: "ready" in lab.by("operator", "fleet", "--wait", "0.3").stdout, 40)
                continue
            done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT, check=False, **options)
            assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
            if words[:2] == ["lab", "down"]:
                assert "board-1" in "".join(ran)
            ran.append(done.stdout)
    finally:
        for agent in agents:
            agent.terminate()
            agent.wait(30)
    assert len(ran) + len(agents) == len(commands_of("lab")) >= 10


def test_servers_that_systemd_starts_get_the_same_files_and_accounts(lab: Lab, site: Site) -> None:
    ports = ("--minio-port", str(lab.minio_port), "--mqtt-port", str(lab.mqtt_port))
    assert lab.run("files", *ports).returncode == 0
    assert lab.run("status").returncode == 1
    with services(lab):
        assert lab.run("accounts").returncode == 0
        assert lab.run("status").returncode == 0
        before = lab.secrets()
        assert lab.run("files", *ports).returncode == 0
        assert lab.secrets() == before
        host = on_lab(site, lab)
        sid = lab.submit(host.job("true"))
        host.until_empty()
        assert host.state_of(sid) == "succeeded"
        assert lab.run("down").stdout == "nothing ran\n"
        assert answers(lab.minio_port)


def test_accounts_for_a_store_that_nobody_started_are_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = ("--minio-port", str(lab.minio_port), "--mqtt-port", str(lab.mqtt_port))
    assert lab.run("files", *ports).returncode == 0
    monkeypatch.setattr(labs, "READY_SECONDS", 0.2)
    found = labs.load(lab.directory)
    assert found is not None
    with pytest.raises(Unavailable, match=f"MinIO does not answer at 127.0.0.1:{lab.minio_port}"):
        labs.finish(lab.directory, found.settings, lambda store: pytest.fail("nobody answers"))


@contextlib.contextmanager
def services(lab: Lab) -> Iterator[None]:
    """Both servers, started as the units start them: what stands after ExecStart=, with the lab's own places."""
    variables = dict(line.split("=", 1) for line in (lab.directory / "minio.env").read_text().splitlines())
    running = []
    found = labs.programs(lab.env["PATH"])
    for name in ("edge-lab-minio.service", "edge-lab-mosquitto.service"):
        (line,) = re.findall(r"(?m)^ExecStart=(.*)$", units()[name])
        line = line.replace("${MINIO_LISTENS}", variables["MINIO_LISTENS"]).replace(DIRECTORY, str(lab.directory))
        program, *words = line.split()
        argv = [found[Path(program).name], *words]
        env = {**lab.env, **variables, "HOME": str(lab.directory)}
        running.append(subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    try:
        wait_until(lambda: answers(lab.minio_port) and answers(lab.mqtt_port), 30)
        yield
    finally:
        for process in running:
            process.kill()
            process.wait(10)


def test_the_files_of_a_lab_that_runs_are_left_alone(running: Lab) -> None:
    done = running.run("files")
    assert done.returncode == 2
    assert "`edge-agent lab down` first" in done.stderr
