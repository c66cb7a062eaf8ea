"""The playbook of the lab, on a host with systemd that is reached by ssh; boards and people are this machine.

It is what `edge-agent help lab` says under "As services of systemd".
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from agent.adapters.host import find_runtime
from agent.adapters.local_image import build_image
from agent.process import Completed, run

from tests.e2e.site import COMMAND
from tests.system.built import BUILD_TIMEOUT, TOP, VERSION, build
from tests.system.fleet import OPERATOR, PACKAGES, PLAY_TIMEOUT, Bridge, Control, recap, wait_for_ssh
from tests.system.machine import BOOT_TIMEOUT, Machine
from tests.system.roots import BUILD_TIMEOUT as ROOT_TIMEOUT
from tests.system.roots import root_of
from tests.waiting import wait_until

# The first test that needs them builds packages and roots, and may compile the interpreter.
pytestmark = pytest.mark.timeout(BUILD_TIMEOUT + ROOT_TIMEOUT + BOOT_TIMEOUT + PLAY_TIMEOUT)

PLAYBOOK = TOP / "deploy/lab/playbook.yml"
UNITS = ("edge-lab-minio.service", "edge-lab-mosquitto.service", "edge-lab-accounts.service")
DIRECTORY = "/var/lib/edge-lab"
JOB_TIMEOUT = 120.0


class LabHost:
    """The host of the lab, what steers it, and what is outside: `folder` has the files for boards and people."""

    def __init__(self, host: Machine, control: Control, address: str, minio: Path, folder: Path) -> None:
        self.host = host
        self.folder = folder
        self._control = control
        self._options = f"-e lab_address={address} -e lab_minio={minio} -e lab_configs={folder}"
        self._inventory = f"-i {address}, -u {OPERATOR}"
        self._state = folder / "board"

    def play(self, more: str = "") -> tuple[str, int]:
        """Run the playbook; what it printed, and how much it changed."""
        printed = self._control.do(f"ansible-playbook {self._inventory} {PLAYBOOK} {self._options} {more}")
        (counts,) = recap(printed).values()
        assert (counts["failed"], counts["unreachable"]) == (0, 0), printed
        return printed, counts["changed"]

    def lint(self) -> None:
        """See that the linter has nothing to say of the playbook."""
        self._control.do(f"cd {PLAYBOOK.parent} && ansible-lint --offline --strict --profile production playbook.yml")

    def call(self, kind: str, *words: str, stdin: str = "") -> Completed:
        """Run a command outside with one of the three files."""
        board = {
            "EDGE_AGENT_AGENT__STATE_DIR": str(self._state),
            "EDGE_AGENT_AGENT__ID": "board-1",
            "EDGE_AGENT_RESOURCES__CPUS": "1",
            "EDGE_AGENT_RESOURCES__MEMORY": "256MiB",
            "EDGE_AGENT_RESOURCES__DISK_RESERVE": "16MiB",
        }
        argv = (str(COMMAND), "--config", str(self.folder / f"lab-{kind}.toml"), *words)
        return run(argv, JOB_TIMEOUT, {**os.environ, **board}, stdin=stdin.encode())

    def do(self, kind: str, *words: str, stdin: str = "") -> str:
        """Run a command outside that must succeed; what it printed."""
        done = self.call(kind, *words, stdin=stdin)
        assert done.status == 0, f"{words}: {done.out}{done.err}"
        return done.out

    def run_job(self) -> str:
        """Submit a job, let a board run what waits; what has become of the job, in a word."""
        image = self._state / "images/tiny.sif"
        if not image.exists():
            image.parent.mkdir(parents=True)
            runtime = find_runtime()
            assert runtime is not None
            build_image(image, runtime)
        needs = 'requires = {cpus = 0.1, memory = "32MiB", disk = "1MiB"}'
        job = f'image = "file://{image}"\ncommand = ["echo", "over the lab"]\n{needs}\n'
        sid = self.do("submit", "submit", "-", stdin=job).strip()
        self.do("agent", "run", "--until-empty")
        assert "over the lab" in self.do("submit", "logs", sid)
        return str(json.loads(self.do("submit", "status", sid, "--json"))["state"])

    def jobs(self) -> list[str]:
        """The ids of all jobs."""
        return [each["sid"] for each in json.loads(self.do("submit", "jobs", "--json"))]

    def active(self) -> list[str]:
        """Which of the units run, in systemd's words."""
        return self.host.run("systemctl", "is-active", *UNITS).out.split()


@pytest.fixture(scope="module")
def lab(tools_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabHost]:
    """A host with the agent and the packages of the lab, and nothing set up. The tests of this file follow on it."""
    top = tmp_path_factory.mktemp("lab")
    build(top, "amd64", EDGE_AGENT_FORMATS="deb", EDGE_AGENT_LEVEL="0")
    with ExitStack() as stack:
        bridge = stack.enter_context(Bridge())
        root = root_of("bookworm", "amd64", (*PACKAGES, "mosquitto"))
        host = stack.enter_context(Machine("lab", root, top / "host"))
        address = bridge.join(host)
        control = Control(top)
        control.admit_to(host)
        wait_for_ssh(control, address)
        host.copy_in(top / f"edge-agent_{VERSION}_amd64.deb", "/root/edge-agent.deb")
        host.do("dpkg", "-i", "/root/edge-agent.deb")
        folder = top / "configs"
        folder.mkdir()
        yield LabHost(host, control, address, tools_cache / "bin/minio", folder)


# The tests run in this order.


def test_the_linter_has_nothing_to_say(lab: LabHost) -> None:
    lab.lint()


def test_a_look_ahead_changes_nothing(lab: LabHost) -> None:
    lab.play("--check")
    assert lab.host.run("test", "-e", DIRECTORY).status != 0
    assert lab.host.run("test", "-e", "/usr/local/bin/minio").status != 0
    assert lab.host.run("id", "edge-lab").status != 0


def test_the_playbook_starts_the_lab_and_shows_no_password(lab: LabHost) -> None:
    printed, changes = lab.play()
    assert changes > 0
    assert lab.active() == ["active"] * len(UNITS)
    assert lab.host.do("systemctl", "is-enabled", *UNITS).split() == ["enabled"] * len(UNITS)
    assert lab.host.run("systemctl", "is-active", "mosquitto").out.strip() == "inactive"
    for kind in ("agent", "submit", "operator"):
        secrets = re.findall(r'(?:secret_key|password) = "(.+)"', (lab.folder / f"lab-{kind}.toml").read_text())
        assert len(secrets) == 2
        assert not [each for each in secrets if each in printed]


def test_the_files_for_boards_and_people_are_for_their_owner_only(lab: LabHost) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in lab.folder.glob("lab-*.toml")}
    assert modes == dict.fromkeys(("lab-agent.toml", "lab-operator.toml", "lab-submit.toml"), 0o600)


def test_a_board_runs_a_job_over_it(lab: LabHost) -> None:
    assert lab.run_job() == "succeeded"
    assert "board-1" in lab.do("operator", "fleet", "--wait", "0.5")


def test_a_second_run_changes_nothing(lab: LabHost) -> None:
    started = lab.host.do("systemctl", "show", "-p", "InvocationID", *UNITS)
    assert lab.play()[1] == 0
    assert lab.play("--check")[1] == 0
    assert lab.host.do("systemctl", "show", "-p", "InvocationID", *UNITS) == started


def test_its_state_is_seen_by_the_command_of_the_page(lab: LabHost) -> None:
    told = lab.host.do("edge-agent", "lab", "status", "--dir", DIRECTORY, user="edge-lab")
    assert re.findall(r"(?m)^(\w+) +runs$", told) == ["minio", "mosquitto"]


@pytest.mark.parametrize("unit", UNITS)
def test_what_a_service_may_do_is_little(lab: LabHost, unit: str) -> None:
    told = lab.host.do("systemd-analyze", "security", "--no-pager", unit)
    found = re.search(rf"Overall exposure level for {unit}: ([0-9.]+)", told)
    assert found is not None, told
    assert float(found[1]) <= 2.5, told


def test_jobs_and_accounts_stay_when_the_host_was_down(lab: LabHost) -> None:
    before = lab.jobs()
    lab.host.do("systemctl", "stop", *UNITS)
    assert lab.call("submit", "jobs").status == 3
    # As a boot does: what is enabled, in the order that the units say.
    lab.host.do("systemctl", "start", *UNITS)
    wait_until(lambda: lab.call("submit", "jobs").status == 0, JOB_TIMEOUT, "the store answers")
    assert lab.jobs() == before
    assert lab.run_job() == "succeeded"


def test_a_killed_server_comes_back_with_its_accounts(lab: LabHost) -> None:
    for unit in UNITS[:2]:
        pid = lab.host.prop(unit, "MainPID")
        lab.host.do("kill", "-KILL", pid)
        wait_until(lambda unit=unit, pid=pid: lab.host.prop(unit, "MainPID") not in ("0", pid), JOB_TIMEOUT)  # type: ignore[misc]
    wait_until(lambda: lab.active() == ["active"] * len(UNITS), JOB_TIMEOUT, "all units run")
    assert lab.run_job() == "succeeded"


def test_another_certificate_is_used_at_once_and_the_files_outside_stay_good(lab: LabHost) -> None:
    before = {path: path.read_bytes() for path in lab.folder.glob("lab-*.toml")}
    lab.host.sh(f"rm {DIRECTORY}/certificates/public.crt {DIRECTORY}/certificates/private.key")
    started = lab.host.prop(UNITS[0], "InvocationID")
    assert lab.play()[1] > 0
    assert lab.host.prop(UNITS[0], "InvocationID") != started
    assert {path: path.read_bytes() for path in lab.folder.glob("lab-*.toml")} == before
    wait_until(lambda: lab.call("submit", "jobs").status == 0, JOB_TIMEOUT, "the store answers")
    assert lab.run_job() == "succeeded"
