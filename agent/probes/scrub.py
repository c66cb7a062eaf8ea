"""What a recording of a host leaves out: all that names one machine or its people rather than its kind.

Serial numbers, MAC addresses, host names and the machine id are replaced by constants; UUIDs, which GPUs are told apart
by, by others made from them, so that two places with one UUID still have one. Files of which probes read little
(environments, mounts, installed packages) are cut down to that.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Callable
from typing import Any

from agent.probes import accelerators, identity

HOST_NAME = "recorded-host"
MACHINE_ID = hashlib.sha256(b"edge-agent/recorded-host/v1").hexdigest()[:32]
_KEY = b"edge-agent/recorded-uuid/v1"

_UUID = re.compile(rb"(?<![0-9A-Fa-f])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Fa-f])")
_MAC = re.compile(rb"(?<![0-9A-Fa-f:])[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}(?![0-9A-Fa-f:])")
_HOME = re.compile(rb"/home/[^/\s\0]+")
_BUILDER = re.compile(rb"\([\w.+-]+@[\w.+-]+\)")  # who built the kernel, and where: maybe here
_SERIALS = (
    "board_asset_tag",
    "board_serial",
    "chassis_asset_tag",
    "chassis_serial",
    "product_serial",
    "product_uuid",
    "serial",
    "serial-number",
    "serial_number",
    "unique_id",
)
# Names of their own stand in these; the agent's probes follow them, so only the host's name is replaced.
_OF_GROUPS = ("/proc/self/cgroup", "/proc/self/mountinfo", "/proc/mounts")


def scrub_text(content: bytes) -> bytes:
    """Return the text with other UUIDs, MAC addresses and names of home directories."""
    content = _UUID.sub(lambda match: _other_uuid(match[0]), content)
    content = _MAC.sub(b"00:00:00:00:00:00", content)
    return _HOME.sub(b"/home/user", content)


def _other_uuid(uuid: bytes) -> bytes:
    """Return a UUID from which nobody can tell `uuid`, the same one each time."""
    digits = hashlib.sha256(_KEY + uuid.lower()).hexdigest()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32])).encode()


def scrub_groups(content: bytes, host_name: str) -> bytes:
    """Return a text with the host's name replaced in the paths of groups; `restore_path` finds them again."""
    if not host_name:
        return content
    name = re.compile(rb"(?<![A-Za-z0-9])" + re.escape(host_name.encode()) + rb"(?![A-Za-z0-9])")
    return re.sub(rb"/\S+", lambda path: name.sub(HOST_NAME.encode(), path[0]), content)


def restore_path(path: str, host_name: str) -> str:
    """Return the path on the host that a path made from scrubbed texts stands for."""
    return path.replace(HOST_NAME, host_name) if host_name else path


def scrub_file(path: str, content: bytes, host_name: str = "") -> bytes:
    """Return what a recording has for the file at `path`."""
    if posixpath.basename(path) in _SERIALS:
        return b"0\n"
    for pattern, rule in _RULES:
        if re.fullmatch(pattern, path):
            content = rule(content)
    return scrub_groups(content, host_name) if path in _OF_GROUPS else scrub_text(content)


def _machine_id(content: bytes) -> bytes:
    return content if content.strip() in (b"", b"uninitialized") else f"{MACHINE_ID}\n".encode()


def _host_name(content: bytes) -> bytes:
    return f"{HOST_NAME}\n".encode()


def _environment(content: bytes) -> bytes:
    """Keep what tells the kind of container; any other variable stands for a process without it."""
    told = [variable for variable in content.split(b"\0") if variable.startswith(b"container=")]
    return b"".join(variable + b"\0" for variable in told) or (b"HOME=/\0" if content else b"")


def _mounts(content: bytes) -> bytes:
    return b"".join(line for line in content.splitlines(keepends=True) if re.search(rb" (- )?cgroup2? ", line))


def _command(content: bytes) -> bytes:
    holder = b"agent.supervisor"
    return holder if holder in content else b"program"


def _process(content: bytes) -> bytes:
    return re.sub(rb"\(.*\)", b"(program)", content, flags=re.DOTALL)


def _cpuinfo(content: bytes) -> bytes:
    """Boards of Arm have a serial number below the CPUs, s390 one with each."""
    content = re.sub(rb"^(Serial\s*:\s*)\S+", rb"\g<1>0000000000000000", content, flags=re.MULTILINE)
    return re.sub(rb"(identification = )\w+", rb"\g<1>000000", content)


def _packages(content: bytes) -> bytes:
    entries = content.split(b"\n\n")
    return b"\n\n".join(entry for entry in entries if entry.lstrip().startswith(b"Package: nvidia-l4t-core\n"))


def _builder(content: bytes) -> bytes:
    return _BUILDER.sub(b"(user@host)", content)


def _topology(content: bytes) -> bytes:
    return re.sub(rb"^(unique_id )\d+", rb"\g<1>0", content, flags=re.MULTILINE)


def _nothing(content: bytes) -> bytes:
    return b""


def _header(content: bytes) -> bytes:
    return content[:64]


# (path, what becomes of the content)
_RULES: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    (r"/etc/machine-id|/var/lib/dbus/machine-id", _machine_id),
    (r"/etc/hostname|/proc/sys/kernel/hostname", _host_name),
    (r"/\.dockerenv|/run/\.containerenv", _nothing),
    (r"/bin/sh", _header),
    (r"/proc/1/environ", _environment),
    (r"/proc/self/mountinfo|/proc/mounts", _mounts),
    (r"/usr/(local/)?bin/nvidia-container-cli", _nothing),
    (r"/proc/\d+/cmdline", _command),
    (r"/proc/\d+/stat", _process),
    (r"/proc/cpuinfo", _cpuinfo),
    (r"/proc/version|/proc/driver/nvidia/version", _builder),
    (r"/sys/class/kfd/.*/properties", _topology),
    (r"/var/lib/dpkg/status", _packages),
)


def scrub_names(path: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return what a recording has for the names in a directory: only those that probes look for, where others tell.

    Volumes in /dev are named after hosts.
    """
    if path == "/dev":
        return tuple(name for name in names if accelerators.is_node(f"/dev/{name}"))
    if path == "/proc/device-tree":
        return tuple(name for name in names if identity.is_of_hypervisor(name))
    if path == "/etc/apparmor.d":
        return tuple(name for name in names if re.search("apptainer|singularity", name))
    return names


def scrub_answer(name: str, answer: Any, host_name: str = "") -> Any:
    """Return what a recording has for the answer to a query (see probes.host.QUERIES)."""
    if name == "limits-test" and isinstance(answer, dict):
        return {key: scrub_groups(value.encode(), host_name).decode() for key, value in answer.items()}
    return _scrubbed(answer)


def _scrubbed(value: Any) -> Any:
    if isinstance(value, str):
        return scrub_text(value.encode(errors="replace")).decode(errors="replace")
    if isinstance(value, dict):
        return {key: "0" if "serial" in key.lower() else _scrubbed(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_scrubbed, value))
    return value
