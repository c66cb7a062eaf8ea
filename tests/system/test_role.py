"""What the role of the collection does besides a rollout: packages from a repository, and secrets as credentials."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.system.built import BUILD_TIMEOUT, NEXT, TOP, VERSION, build
from tests.system.fleet import OPERATOR, PACKAGES, PLAY_TIMEOUT, Bridge, Control, recap, wait_for_ssh
from tests.system.machine import BOOT_TIMEOUT, Machine
from tests.system.repository import Repository
from tests.system.roots import BUILD_TIMEOUT as ROOT_TIMEOUT
from tests.system.roots import root_of

# The first test that needs them builds packages and roots, and may compile the interpreter.
pytestmark = pytest.mark.timeout(BUILD_TIMEOUT + ROOT_TIMEOUT + BOOT_TIMEOUT + PLAY_TIMEOUT)

DROP_IN = "/etc/systemd/system/edge-agent.service.d/50-credentials.conf"
CREDENTIALS = {"api-token": "a word of the tests", "other": "another"}
SECRETS = {"policy": {"secrets": {"API_TOKEN": {"credential": "api-token"}, "OTHER": {"credential": "other"}}}}
_TEMPLATES = TOP / "deploy/ansible/roles/edge_agent/templates"


class Board:
    """One bare host, the packages it may get, and the operator who steers it."""

    def __init__(self, host: Machine, control: Control, address: str, repository: Repository) -> None:
        self.host = host
        self.control = control
        self._fixed = {
            "ansible_host": address,
            "ansible_user": OPERATOR,
            "edge_agent_repository_url": repository.url,
            "edge_agent_repository_key": str(repository.key),
        }

    def play(self, book: str, **variables: Any) -> tuple[str, int]:
        """Run a playbook of the collection; what it printed, and how much it changed."""
        printed = self.control.do(self._line(book, variables))
        (counts,) = recap(printed).values()
        assert (counts["failed"], counts["unreachable"]) == (0, 0), printed
        return printed, counts["changed"]

    def refuse(self, book: str, **variables: Any) -> str:
        """Run a playbook that must fail; what it printed."""
        done = self.control.run(self._line(book, variables))
        assert done.status == 2
        return done.out

    def _line(self, book: str, variables: dict[str, Any]) -> str:
        inventory = {"edge_agents": {"hosts": {"board": {**self._fixed, **variables}}}}
        (self.control.folder / "hosts.yml").write_text(json.dumps(inventory))
        return f"ansible-playbook -i hosts.yml edge_agent.edge_agent.{book} --diff"

    def agent(self) -> str:
        """The process of the agent."""
        return self.host.prop("edge-agent.service", "MainPID")

    def version(self) -> str:
        """The release of the agent that answers."""
        told = json.loads(self.host.do("edge-agent", "status", "--json", user="edge-agent"))
        assert told["mode"]["name"] == "ready"
        return str(told["version"])

    def credential(self, name: str) -> str:
        """What the running service has of a credential."""
        return self.host.do("cat", f"/proc/{self.agent()}/root/run/credentials/edge-agent.service/{name}")


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """A host without the agent. The tests of this file follow on each other on it."""
    top = tmp_path_factory.mktemp("role")
    for version in (VERSION, NEXT):
        build(top, "amd64", EDGE_AGENT_FORMATS="deb", EDGE_AGENT_LEVEL="0", EDGE_AGENT_VERSION=version)
    with ExitStack() as stack:
        bridge = stack.enter_context(Bridge())
        host = stack.enter_context(Machine("role", root_of("bookworm", "amd64", PACKAGES), top / "host"))
        address = bridge.join(host)
        control = Control(top)
        control.admit_to(host)
        wait_for_ssh(control, address)
        control.do(f"ansible-galaxy collection install {TOP}/deploy/ansible")
        packages = sorted(top.glob("*.deb"))
        repository = stack.enter_context(Repository(top / "repository", packages).served_at(bridge.address))
        yield Board(host, control, address, repository)


# The tests run in this order.


def test_a_release_comes_from_a_repository_though_no_other_source_answers(board: Board) -> None:
    assert "deb.debian.org" in board.host.sh("cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || :")
    assert board.play("install", edge_agent_version=VERSION)[1] > 0
    assert board.version() == VERSION
    assert board.play("install", edge_agent_version=VERSION)[1] == 0
    assert board.play("install")[1] == 0


def test_a_repository_that_another_key_signs_is_refused(board: Board, tmp_path: Path) -> None:
    other = Repository(tmp_path, ())
    printed = board.refuse("install", edge_agent_version=NEXT, edge_agent_repository_key=str(other.key))
    assert "NO_PUBKEY" in printed
    assert board.version() == VERSION


def test_a_rollout_takes_the_next_release_from_the_repository(board: Board) -> None:
    assert board.play("rollout", edge_agent_version=NEXT)[1] > 0
    assert board.version() == NEXT


def test_secrets_are_handed_over_by_systemd_and_read_by_root_only(board: Board) -> None:
    described = {"edge_agent_credentials": CREDENTIALS, "edge_agent_config_host": SECRETS}
    printed, changes = board.play("install", **described)
    assert changes > 0
    assert not [secret for secret in CREDENTIALS.values() if secret in printed]
    assert {name: board.credential(name) for name in CREDENTIALS} == CREDENTIALS
    told = board.host.do("stat", "-c", "%U:%G %a", "/etc/edge-agent/credentials/api-token", DROP_IN)
    assert told.splitlines() == ["root:root 600", "root:root 644"]
    agent = board.agent()
    assert board.play("install", **described)[1] == 0
    assert board.agent() == agent


def test_a_credential_that_is_described_no_more_goes(board: Board) -> None:
    kept = {"api-token": "a new word"}
    config = {"policy": {"secrets": {"API_TOKEN": {"credential": "api-token"}}}}
    board.play("install", edge_agent_credentials=kept, edge_agent_config_host=config)
    assert board.credential("api-token") == "a new word"
    assert board.host.do("ls", "/etc/edge-agent/credentials").split() == ["api-token"]
    board.play("install")
    assert board.host.do("ls", "/etc/edge-agent/credentials") == ""
    assert board.host.run("test", "-e", DROP_IN).status != 0
    assert board.version() == NEXT


def test_a_way_back_takes_the_credentials_along(board: Board) -> None:
    described = {"edge_agent_credentials": {"old": "an old word"}}
    board.play("install", **described)
    wrong = {"edge_agent_config_host": {"resources": {"cpsu": 1}}, "edge_agent_credentials": {"new": "a new word"}}
    printed = board.refuse("rollout", **wrong)
    assert "did you mean" in printed
    assert board.host.do("ls", "/etc/edge-agent/credentials").split() == ["old"]
    assert board.credential("old") == "an old word"
    assert board.host.run("test", "-e", "/var/cache/edge-agent-before.conf").status != 0


def test_what_dnf_reads_names_the_repository_and_its_key() -> None:
    text = (_TEMPLATES / "edge-agent.repo.j2").read_text()
    assert "gpgcheck=1" in text
    assert "baseurl={{ edge_agent_repository_url }}" in text
