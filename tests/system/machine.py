"""A host with a systemd of its own: systemd-nspawn on an overlay, without a network. Needs root on this machine."""

from __future__ import annotations

import os
import signal
import subprocess  # a machine outlives the call that started it
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

from agent.process import Completed, run

from tests.system.roots import mount_overlay, unmount_overlay
from tests.waiting import wait_until

BOOT_TIMEOUT = 180.0
CALL_TIMEOUT = 300.0
_HOSTNAME = "board"
_GROUPS = Path("/sys/fs/cgroup")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Machine:
    """One host, from `with` to its end. `folder` gets its overlay, which is a tmpfs: nothing is left of it."""

    def __init__(self, name: str, root: Path, folder: Path) -> None:
        self.name = f"{name}-{os.getpid()}"
        self.root = folder / "root"
        self._base = root
        self._folder = folder
        self._console = folder / "console"
        self._groups: list[Path] = []
        self._nspawn: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Machine:
        try:
            self._mount()
            self._boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What is done with it.

    def run(self, *argv: str, stdin: str = "", user: str | None = None, timeout: float = CALL_TIMEOUT) -> Completed:
        """Run a command inside, as root or as `user`."""
        become = () if user is None else ("runuser", "-u", user, "--")
        inside = ("nsenter", "-t", str(self.leader()), "-a", "--", "env", "-i", f"PATH={_PATH}", "LC_ALL=C.UTF-8")
        return run((*inside, "HOME=/root", "TERM=dumb", *become, *argv), timeout, stdin=stdin.encode())

    def do(self, *argv: str, stdin: str = "", user: str | None = None, timeout: float = CALL_TIMEOUT) -> str:
        """Run a command that must succeed; what it printed."""
        done = self.run(*argv, stdin=stdin, user=user, timeout=timeout)
        assert done.status == 0, f"{' '.join(argv)}: status {done.status}\n{done.out}\n{done.err}\n{self._words()}"
        return done.out

    def sh(self, script: str, user: str | None = None) -> str:
        """Run lines of shell, which end at the first failure."""
        return self.do("sh", "-eu", stdin=script, user=user)

    def prop(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.do("systemctl", "show", "--value", "-p", name, unit).strip()

    def copy_in(self, source: Path, target: str) -> None:
        """Put a file into the host."""
        inside = ("nsenter", "-t", str(self.leader()), "-a", "--")
        done = run((*inside, "dd", f"of={target}"), CALL_TIMEOUT, stdin=source.read_bytes())
        assert done.status == 0, done.err

    def leader(self) -> int:
        """The process that is the host's init."""
        assert self._nspawn is not None
        pid = self._nspawn.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert children, f"the host {self.name} is gone: {self._words()}"
        return int(children[0])

    # Life.

    def _mount(self) -> None:
        mount_overlay(self._base, self._folder)
        # Who installs a host gives it these; a bare root has neither.
        (self.root / "etc/hosts").write_text(f"127.0.0.1 localhost {_HOSTNAME}\n")
        (self.root / "etc/hostname").write_text(f"{_HOSTNAME}\n")

    def _boot(self) -> None:
        with self._console.open("wb") as console:
            self._nspawn = subprocess.Popen(
                ("bash", "-eu", "-c", _ENTER_GROUPS, "boot", self.name, *self._command()),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._is_up, BOOT_TIMEOUT, f"{self.name} is up")

    def _command(self) -> Sequence[str]:
        return (
            *(
                "systemd-nspawn",
                "-q",
                "-b",
                "-D",
                str(self.root),
                "-M",
                self.name,
                "--private-network",
                f"--hostname={_HOSTNAME}",
            ),
            *("--register=no", "--keep-unit", "--console=pipe", "--bind=/dev/fuse"),
        )

    def _is_up(self) -> bool:
        assert self._nspawn is not None
        assert self._nspawn.poll() is None, f"the host {self.name} did not boot: {self._words()}"
        pid = self._nspawn.pid
        if not Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            return False
        state = self.run("systemctl", "is-system-running").out.strip()
        return state in ("running", "degraded")

    def _words(self) -> str:
        return self._console.read_text(errors="replace")[-3000:] if self._console.exists() else ""

    def close(self) -> None:
        """End the host at once, and leave nothing of it."""
        if self._nspawn is not None:
            os.killpg(self._nspawn.pid, signal.SIGKILL)
            self._nspawn.wait()
        for group in (*_GROUPS.glob(f"*/{self.name}"), *_GROUPS.glob(self.name)):
            wait_until(partial(_removed, group), 60.0, f"nothing is left of {group}")
        unmount_overlay(self._folder)


def _removed(group: Path) -> bool:
    """Kill what is left of the host in one hierarchy, and remove its groups; whether that is done."""
    if _killed(group):
        return False
    try:
        for each in sorted((path for path in (group, *group.rglob("*")) if path.is_dir()), reverse=True):
            each.rmdir()
    except OSError:  # what was killed is in its group until it is gone
        return False
    return True


def _killed(group: Path) -> bool:
    """Send SIGKILL to every process of a group and of those below; whether there was one."""
    found = [
        int(line)
        for file in (*group.rglob("cgroup.procs"), group / "cgroup.procs")
        for line in file.read_text().split()
    ]
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return bool(found)


# A group of its own in each hierarchy: else the host's init takes this machine's groups for its own.
_ENTER_GROUPS = """
name=$1; shift
hierarchies=(/sys/fs/cgroup)
[ -e /sys/fs/cgroup/cgroup.procs ] || hierarchies=(/sys/fs/cgroup/*)
for hierarchy in "${hierarchies[@]}"; do
    [ -e "$hierarchy/cgroup.procs" ] && [ ! -h "$hierarchy" ] || continue
    group=$hierarchy/$name
    mkdir "$group"
    if [ -e "$group/cpuset.cpus" ] && [ -e "$group/cgroup.clone_children" ]; then
        cat "$hierarchy/cpuset.cpus" >"$group/cpuset.cpus"
        cat "$hierarchy/cpuset.mems" >"$group/cpuset.mems"
        echo 1 >"$group/cgroup.clone_children"
    fi
    echo $$ >"$group/cgroup.procs"
done
exec "$@"
"""
