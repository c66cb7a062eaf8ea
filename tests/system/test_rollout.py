"""The collection for Ansible, on three hosts with systemd that are reached by ssh: installed, configured, upgraded
while jobs run, and brought back. One of them is an arm64 userland under emulation, without a container runtime.

The commands are those of the page, and so is the description of the fleet.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.built import BUILD_TIMEOUT, NEXT, TOP, VERSION, build
from tests.system.fleet import (
    PACKAGES,
    PLAY_TIMEOUT,
    Bridge,
    Control,
    OpenMinio,
    OpenMosquitto,
    call,
    recap,
    wait_for_ssh,
)
from tests.system.machine import BOOT_TIMEOUT, Machine
from tests.system.roots import BUILD_TIMEOUT as ROOT_TIMEOUT
from tests.system.roots import root_of
from tests.waiting import wait_until

# The first test that needs them builds packages and roots, and may compile the interpreter.
pytestmark = pytest.mark.timeout(BUILD_TIMEOUT + ROOT_TIMEOUT + BOOT_TIMEOUT + PLAY_TIMEOUT)

BROKEN = "0.1.2"  # a release whose doctor finds a failure
HOSTS = {"bench-1": ("bookworm", "amd64"), "bench-2": ("trixie", "amd64"), "board-1": ("bookworm", "arm64")}
BENCHES = ("bench-1", "bench-2")
STATE = "/var/lib/edge-agent"
JOB_TIMEOUT = 120.0
S3_SECRET, MQTT_SECRET = OpenMinio.secret_key, "a password of the tests"
_PAGE = TOP / "agent/docs/fleet.md"
_UNFIT = """#!/bin/sh
if [ "$1" = doctor ]; then
    echo '[{"check": "disk", "status": "failure", "message": "no room at all", "remedy": "make room"}]'
    exit 1
fi
exec /usr/lib/edge-agent/bin/python3.13 -I -c '
import agent
agent.__version__ = "{version}"
from agent.cli import main
main()' "$@"
"""


class Fleet:
    """The hosts by their names in the inventory, and what steers and serves them."""

    def __init__(self, control: Control, minio: OpenMinio, stack: ExitStack) -> None:
        self.control = control
        self.minio = minio
        self.hosts: dict[str, Machine] = {}
        self._stack = stack

    def add(self, name: str, folder: Path, bridge: Bridge) -> str:
        """Boot a host that the operator can log in to; its address."""
        release, arch = HOSTS[name]
        host = self._stack.enter_context(Machine(name, root_of(release, arch, PACKAGES), folder))
        address = bridge.join(host)
        self.control.admit_to(host)
        wait_for_ssh(self.control, address)
        self.hosts[name] = host
        return address

    def version(self, name: str) -> str:
        """The release of the agent that answers on a host."""
        return str(self._status(name)["version"])

    def mode(self, name: str) -> str:
        """Whether a host takes jobs, in a word."""
        mode = self._status(name)["mode"]
        assert isinstance(mode, dict)
        return str(mode["name"])

    def agent(self, name: str) -> str:
        """The process of a host's agent."""
        return self.hosts[name].prop("edge-agent.service", "MainPID")

    def waiters(self, name: str) -> set[str]:
        """The processes that watch a job on a host."""
        return set(self.hosts[name].run("pgrep", "-x", "edge-waiter").out.split())

    def _status(self, name: str) -> dict[str, object]:
        told = self.hosts[name].do("edge-agent", "status", "--json", user="edge-agent")
        status: dict[str, object] = json.loads(told)
        return status

    # Jobs, over the queue of the fleet.

    def submit(self, name: str, script: str) -> str:
        """Submit a job for one host; its id."""
        image = f"file://{STATE}/images/tiny-amd64.sif"
        needs = f'requires = {{cpus = 0.1, memory = "32MiB", disk = "1MiB", labels = {{name = "{name}"}}}}'
        job = f"image = {json.dumps(image)}\ncommand = {json.dumps(['sh', '-c', script])}\n{needs}\n"
        return self.hosts["bench-1"].do("edge-agent", "submit", "-", stdin=job, user="edge-agent").strip()

    def job(self, sid: str) -> tuple[str, int]:
        """What has become of a job, and how often it was tried."""
        told = json.loads(self.hosts["bench-1"].do("edge-agent", "status", sid, "--json", user="edge-agent"))
        return str(told["state"]), int(told["attempts"])

    def wait_for(self, sid: str, state: str) -> None:
        """Return when a job is in a state."""
        wait_until(lambda: self.job(sid)[0] == state, JOB_TIMEOUT, f"{sid} is {state}")

    def release_jobs(self) -> None:
        """Let the jobs end that wait for it."""
        for name in BENCHES:
            self.hosts[name].sh(f"for job in {STATE}/attempts/*/work; do [ ! -d $job ] || touch $job/go; done")


def section(title: str) -> str:
    """One section of the page."""
    return _PAGE.read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]


def lines(title: str) -> list[str]:
    """The commands of one section of the page that are no shown files."""
    return [line.strip() for line in re.findall(r"(?m)^    ((?:ansible|export)[- ].*)$", section(title))]


def shown_files() -> dict[str, str]:
    """What the page shows of the description of a fleet, by path."""
    found: dict[str, str] = {}
    for block in re.findall(r"(?:^    .*\n)+", section("Describe the fleet"), re.MULTILINE):
        for each in re.split(r"(?m)^    \$ cat ", block)[1:]:
            path, _, text = each.partition("\n")
            found[path] = re.sub(r"(?m)^    ", "", text)
    return found


def spoil(folder: Path) -> None:
    """Make a later package for amd64 whose doctor finds a failure."""
    tree, package = folder / "broken", folder / f"edge-agent_{BROKEN}_amd64.deb"
    call("dpkg-deb", "--raw-extract", str(folder / f"edge-agent_{NEXT}_amd64.deb"), str(tree))
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text().replace(f"Version: {NEXT}", f"Version: {BROKEN}"))
    (tree / "usr/lib/edge-agent/bin/edge-agent").write_text(_UNFIT.replace("{version}", BROKEN))
    call("dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(package))
    shutil.rmtree(tree)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packages of this checkout, of a later release, and of one that is broken."""
    folder = tmp_path_factory.mktemp("dist")
    fast = {"EDGE_AGENT_FORMATS": "deb", "EDGE_AGENT_LEVEL": "0"}
    build(folder, "amd64", "arm64", **fast)
    build(folder, "amd64", "arm64", **fast, EDGE_AGENT_VERSION=NEXT)
    spoil(folder)
    # No host gets as far as to need it.
    shutil.copy(folder / f"edge-agent_{NEXT}_arm64.deb", folder / f"edge-agent_{BROKEN}_arm64.deb")
    return folder


@pytest.fixture(scope="module")
def fleet(dist: Path, tools_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three bare hosts, and the page's description of them. The tests of this file follow on each other on them."""
    top = tmp_path_factory.mktemp("fleet")
    with ExitStack() as stack:
        bridge = stack.enter_context(Bridge())
        minio = OpenMinio(tools_cache / "bin/minio", top / "minio")
        stack.callback(minio.stop)
        minio.start()
        minio.client().ensure_bucket("lab")
        users = top / "users"
        call("mosquitto_passwd", "-c", "-b", str(users), "edge-agent", MQTT_SECRET)
        broker = OpenMosquitto(top / "mosquitto", "allow_anonymous false", f"password_file {users}")
        stack.callback(broker.stop)
        broker.start()
        control = Control(top)
        fleet = Fleet(control, minio, stack)
        addresses = {name: fleet.add(name, top / name, bridge) for name in HOSTS}
        replaced = {
            **{f"192.0.2.1{n}": addresses[name] for n, name in enumerate(HOSTS, 1)},
            "192.0.2.1:9000": f"{bridge.address}:{minio.port}",
            "192.0.2.1:1883": f"{bridge.address}:{broker.port}",
            "access_key: edge-agent": f"access_key: {minio.access_key}",
            "the secret key": S3_SECRET,
            "the password": MQTT_SECRET,
        }
        describe(top, replaced)
        (top / "dist").symlink_to(dist)
        (top / ".vault-password").write_text("only for this test\n")
        control.environment["ANSIBLE_VAULT_PASSWORD_FILE"] = str(top / ".vault-password")
        yield fleet


def describe(folder: Path, replaced: dict[str, str]) -> None:
    """Write the files of the page, with the real addresses and secrets, and a label for each bench."""
    for path, text in shown_files().items():
        for old, new in replaced.items():
            text = text.replace(old, new)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    # An emulator runs no program with the rights of its owner, such as sudo.
    (folder / "inventory/host_vars/board-1.yml").write_text("ansible_user: root\n")
    for name in BENCHES:
        file = folder / f"inventory/host_vars/{name}.yml"
        before = file.read_text() if file.exists() else "edge_agent_config_host:\n"
        file.write_text(f"{before}  labels: {{name: {name}}}\n")


def changed(printed: str) -> dict[str, int]:
    """How much a play changed on each host, none of which failed."""
    hosts = recap(printed)
    assert {(each["failed"], each["unreachable"]) for each in hosts.values()} == {(0, 0)}, printed
    return {name: each["changed"] for name, each in hosts.items()}


# The tests run in this order.


def test_the_collection_is_installed_and_its_secrets_are_encrypted(fleet: Fleet) -> None:
    (install,) = re.findall(r"(?m)^    (ansible-galaxy .*)$", _PAGE.read_text())
    fleet.control.do(install.replace("./deploy", str(TOP / "deploy")))
    _, encrypt = lines("Describe the fleet")
    fleet.control.do(encrypt)
    vault = fleet.control.folder / "inventory/group_vars/edge_agents/vault.yml"
    assert vault.read_text().startswith("$ANSIBLE_VAULT;")


def test_the_linter_has_nothing_to_say(fleet: Fleet) -> None:
    fleet.control.do(f"cd {TOP}/deploy/ansible && ansible-lint --offline --strict --profile production")


def test_a_wrong_type_is_told_before_a_host_is_touched(fleet: Fleet) -> None:
    _, install, _ = lines("Install and configure")
    done = fleet.control.run(f"""{install} -e '{{"edge_agent_secrets": "oops"}}'""")
    assert done.status == 2
    assert "edge_agent_secrets" in done.out
    assert sum(each["changed"] for each in recap(done.out).values()) == 0


def test_a_look_ahead_changes_nothing(fleet: Fleet) -> None:
    check, _, _ = lines("Install and configure")
    assert set(changed(fleet.control.do(check))) == set(HOSTS)
    for host in fleet.hosts.values():
        assert host.run("test", "-e", "/usr/bin/edge-agent").status != 0
        assert host.run("test", "-e", "/var/cache/edge-agent").status != 0


def test_hosts_are_installed_configured_and_verified(fleet: Fleet) -> None:
    _, install, _ = lines("Install and configure")
    printed = fleet.control.do(install)
    assert min(changed(printed).values()) > 0
    assert S3_SECRET not in printed
    assert MQTT_SECRET not in printed
    for name, host in fleet.hosts.items():
        assert (fleet.version(name), fleet.mode(name)) == (VERSION, "ready")
        assert host.do("systemctl", "is-enabled", "edge-agent").strip() == "enabled"
        told = host.do("stat", "-c", "%U:%G %a", "/etc/edge-agent/config.toml", "/etc/edge-agent/secrets/s3")
        assert told.splitlines() == ["root:edge-agent 640"] * 2
        assert host.do("cat", "/etc/edge-agent/secrets/s3") == S3_SECRET
        assert host.do("edge-agent", "config", "check").strip() == "ok"


def test_a_second_run_changes_nothing(fleet: Fleet) -> None:
    check, install, _ = lines("Install and configure")
    agents = {name: fleet.agent(name) for name in HOSTS}
    nothing = dict.fromkeys(HOSTS, 0)
    assert changed(fleet.control.do(install)) == nothing
    assert changed(fleet.control.do(check)) == nothing
    assert {name: fleet.agent(name) for name in HOSTS} == agents


def test_a_changed_configuration_is_shown_then_written_and_the_agent_restarted(fleet: Fleet) -> None:
    _, _, install = lines("Install and configure")
    file = fleet.control.folder / "inventory/host_vars/bench-1.yml"
    file.write_text(file.read_text().replace("512MiB", "300MiB"))
    agent = fleet.agent("bench-1")
    shown = fleet.control.do(f"{install} --check --diff")
    assert '+memory_reserve = "300MiB"' in shown
    assert fleet.agent("bench-1") == agent
    assert changed(fleet.control.do(install)) == {"bench-1": 2}
    assert fleet.agent("bench-1") != agent


def test_a_wrong_configuration_replaces_nothing(fleet: Fleet) -> None:
    _, _, install = lines("Install and configure")
    before, agent = fleet.hosts["bench-1"].do("cat", "/etc/edge-agent/conf.d/90-host.toml"), fleet.agent("bench-1")
    done = fleet.control.run(f"""{install} -e '{{"edge_agent_config_host": {{"resources": {{"cpsu": 1}}}}}}'""")
    assert done.status == 2
    assert "did you mean" in done.out
    assert fleet.hosts["bench-1"].do("cat", "/etc/edge-agent/conf.d/90-host.toml") == before
    assert fleet.agent("bench-1") == agent


def test_a_host_without_a_package_of_the_runtime_is_told_what_to_do(fleet: Fleet) -> None:
    _, install, _ = lines("Install and configure")
    done = fleet.control.run(f"{install} --limit board-1 -e edge_agent_install_runtime=true")
    assert done.status == 2
    assert "board-1 has no container runtime" in done.out
    assert "packaging/install-apptainer.sh" in done.out


def test_jobs_run_through_an_upgrade_of_all_hosts(fleet: Fleet, running: dict[str, str]) -> None:
    (upgrade,) = lines("Upgrade")
    waiters = {name: fleet.waiters(name) for name in BENCHES}
    printed = fleet.control.do(upgrade)
    assert min(changed(printed).values()) > 0
    assert re.findall(r"TASK \[.*Take no new jobs meanwhile\].*\nchanged: \[(.+)\]", printed) == list(HOSTS)
    for name, host in fleet.hosts.items():
        assert (fleet.version(name), fleet.mode(name)) == (NEXT, "ready")
        assert len(host.do("ls", "/var/cache/edge-agent").split()) == 2
    assert {name: fleet.waiters(name) for name in BENCHES} == waiters
    assert {name: fleet.job(sid) for name, sid in running.items()} == dict.fromkeys(BENCHES, ("started", 1))


@pytest.fixture(scope="module")
def running(fleet: Fleet) -> dict[str, str]:
    """A job on each bench that runs until it is told to end."""
    for name in BENCHES:
        # Without the configuration of the host: its id on the broker is that of the agent that runs.
        fleet.hosts[name].sh(
            f"runuser -u edge-agent -- edge-agent --config /dev/null demo --dir {STATE}/demo\n"
            f"runuser -u edge-agent -- mkdir -p {STATE}/images\n"
            f"runuser -u edge-agent -- cp {STATE}/demo/state/images/tiny-amd64.sif {STATE}/images/"
        )
    sids = {name: fleet.submit(name, "while [ ! -e go ]; do sleep 1; done; echo ended") for name in BENCHES}
    for sid in sids.values():
        fleet.wait_for(sid, "started")
    return sids


def test_an_upgrade_to_the_same_release_changes_nothing(fleet: Fleet) -> None:
    (upgrade,) = lines("Upgrade")
    assert changed(fleet.control.do(upgrade)) == dict.fromkeys(HOSTS, 0)


def test_a_host_that_fails_is_brought_back_and_ends_the_rollout(fleet: Fleet, running: dict[str, str]) -> None:
    (upgrade,) = lines("When a host fails")
    waiters, agent = fleet.waiters("bench-1"), {name: fleet.agent(name) for name in HOSTS}
    # The control machine has forgotten the release from before, the hosts have not.
    alone = fleet.control.folder / "broken"
    alone.mkdir()
    for arch in ("amd64", "arm64"):
        name = f"edge-agent_{BROKEN}_{arch}.deb"
        (alone / name).symlink_to((fleet.control.folder / "dist" / name).resolve())
    upgrade = f"{upgrade} -e edge_agent_packages={alone}"
    configured = fleet.hosts["bench-1"].do("find", "/etc/edge-agent", "-type", "f", "-exec", "sha256sum", "{}", "+")
    done = fleet.control.run(f"{upgrade} -e '{json.dumps({'edge_agent_config_group': {'labels': {'new': 'yes'}}})}'")
    assert done.status == 2
    words = " ".join(done.out.split())
    assert "doctor on bench-1: disk: no room at all, remedy: make room" in words
    assert f"is back on {NEXT}" in words
    assert "The rollout ends here" in words
    assert {name: fleet.version(name) for name in HOSTS} == dict.fromkeys(HOSTS, NEXT)
    assert {name: fleet.mode(name) for name in HOSTS} == dict.fromkeys(HOSTS, "ready")
    assert {name for name in HOSTS if fleet.agent(name) != agent[name]} == {"bench-1"}
    again = fleet.hosts["bench-1"].do("find", "/etc/edge-agent", "-type", "f", "-exec", "sha256sum", "{}", "+")
    assert sorted(again.splitlines()) == sorted(configured.splitlines())
    assert fleet.waiters("bench-1") == waiters
    assert fleet.job(running["bench-1"]) == ("started", 1)


def test_whom_an_operator_has_paused_stays_paused(fleet: Fleet) -> None:
    (upgrade,) = lines("Upgrade")
    back = upgrade.replace(NEXT, VERSION)
    fleet.hosts["bench-2"].do("edge-agent", "pause", "--note", "a new fan", user="edge-agent")
    fleet.control.do(f"{back} --limit bench-2")
    assert (fleet.version("bench-2"), fleet.mode("bench-2")) == (VERSION, "paused")
    fleet.hosts["bench-2"].do("edge-agent", "resume", user="edge-agent")


def test_no_job_is_lost(fleet: Fleet, running: dict[str, str]) -> None:
    fleet.release_jobs()
    for sid in running.values():
        fleet.wait_for(sid, "succeeded")
        assert fleet.job(sid) == ("succeeded", 1)
        assert "ended" in fleet.hosts["bench-1"].do("edge-agent", "logs", sid, user="edge-agent")


def test_a_drained_host_is_upgraded_when_its_jobs_have_ended(fleet: Fleet) -> None:
    (upgrade,) = lines("Upgrade")
    sid = fleet.submit("bench-2", "sleep 15")
    fleet.wait_for(sid, "started")
    printed = fleet.control.do(f"{upgrade} --limit bench-2 -e edge_agent_drain=true")
    assert re.search(r"Wait until its jobs have ended\].*\nchanged: \[bench-2\]", printed)
    assert fleet.job(sid) == ("succeeded", 1)
    assert (fleet.version("bench-2"), fleet.mode("bench-2")) == (NEXT, "ready")
