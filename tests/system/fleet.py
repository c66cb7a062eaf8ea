"""Hosts with systemd that a control machine reaches by ssh: a bridge, an address each, and this machine's Ansible."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from agent.process import Completed, run

from tests.servers import Minio, Mosquitto
from tests.system.built import TOP
from tests.system.machine import Machine
from tests.waiting import wait_until

PLAY_TIMEOUT = 900.0
OPERATOR = "ops"
# What Ansible needs on a host.
PACKAGES = ("openssh-server", "python3", "python3-apt")
_CACHE = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")


class OpenMinio(Minio):
    """An S3 server that hosts reach."""

    listen = ""


class OpenMosquitto(Mosquitto):
    """A broker that hosts reach."""

    listen = ""


class Bridge:
    """A network of this machine (its address ends with 1) and of the hosts that are joined to it."""

    def __init__(self) -> None:
        self.name = f"fleet{os.getpid()}"
        self._net = f"10.77.{os.getpid() % 250}"
        self.address = f"{self._net}.1"
        self._joined = 0

    def __enter__(self) -> Bridge:
        call("ip", "link", "add", self.name, "type", "bridge")
        call("ip", "address", "add", f"{self.address}/24", "dev", self.name)
        call("ip", "link", "set", self.name, "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        run(("ip", "link", "delete", self.name), 30.0)

    def join(self, host: Machine) -> str:
        """Give a host an address in this network; returns it."""
        self._joined += 1
        pid, here, address = str(host.leader()), f"f{self._joined}x{os.getpid()}", f"{self._net}.{10 + self._joined}"
        call("ip", "link", "add", here, "type", "veth", "peer", "name", "host0", "netns", pid)
        call("ip", "link", "set", here, "master", self.name, "up")
        for words in (("address", "add", f"{address}/24", "dev", "host0"), ("link", "set", "host0", "up")):
            call("nsenter", "-t", pid, "-n", "--", "ip", *words)
        return address


class Control:
    """A folder from which an operator steers hosts by ssh: a key, commands of Ansible, and their settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        programs = run((str(TOP / "packaging/install-ansible.sh"),), PLAY_TIMEOUT, {**os.environ, **_own(_CACHE)})
        assert programs.status == 0, programs.err
        self.environment = {
            "PATH": f"{programs.out.strip()}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_HOME": str(folder / ".ansible"),
            "ANSIBLE_NOCOLOR": "1",
            # Hosts of a test are new each time, and none of their keys is worth remembering.
            "ANSIBLE_SSH_ARGS": " ".join(
                (
                    *(f"-i {folder}/key", "-o UserKnownHostsFile=/dev/null", "-o StrictHostKeyChecking=no"),
                    *("-o LogLevel=ERROR", "-o ControlMaster=auto", "-o ControlPersist=60"),
                )
            ),
        }
        call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key"))

    def admit_to(self, host: Machine) -> None:
        """Make a user on the host who may log in with the key, and be root by sudo. Root may log in, too."""
        key = (self.folder / "key.pub").read_text()
        host.do("useradd", "--create-home", "--shell", "/bin/bash", OPERATOR)
        for user, home in ((OPERATOR, f"/home/{OPERATOR}"), ("root", "/root")):
            host.do("install", "-d", "-m", "700", "-o", user, f"{home}/.ssh")
            host.do("tee", f"{home}/.ssh/authorized_keys", stdin=key)
        host.do("tee", "/etc/sudoers.d/fleet", stdin=f"{OPERATOR} ALL=(ALL) NOPASSWD: ALL\n")

    def run(self, command: str) -> Completed:
        """Run a line of shell as the operator does, in the folder."""
        script = f"cd {self.folder} && {command}"
        return run(("bash", "-euc", script), PLAY_TIMEOUT, {**os.environ, **self.environment})

    def do(self, command: str) -> str:
        """Run a line that must succeed; what it printed."""
        done = self.run(command)
        assert done.status == 0, f"{command}: status {done.status}\n{done.out[-12000:]}\n{done.err[-4000:]}"
        return done.out


def _own(cache: str) -> Mapping[str, str]:
    return {"XDG_CACHE_HOME": cache, "HOME": str(Path(cache).parent)}


def call(*argv: str) -> None:
    """Run a command of this machine that must succeed."""
    done = run(argv, 60.0)
    assert done.status == 0, f"{' '.join(argv)}: {done.err}"


def recap(printed: str) -> dict[str, dict[str, int]]:
    """What a play did to each host: {"bench-1": {"ok": 20, "changed": 0, ...}}."""
    rows = re.findall(r"(?m)^(\S+) +: ((?:\w+=\d+ *)+)$", printed.rpartition("PLAY RECAP")[2])
    return {host: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", counts)} for host, counts in rows}


def wait_for_ssh(control: Control, address: str) -> None:
    """Return when the operator can log in."""
    words = control.environment["ANSIBLE_SSH_ARGS"]
    wait_until(lambda: control.run(f"ssh {words} {OPERATOR}@{address} true").status == 0, 60.0, f"ssh to {address}")
