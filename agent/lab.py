"""A lab without internet on one machine: MinIO and Mosquitto with generated credentials, and a store queue on them.

<lab>/lab.json          what was generated: ports and user names
<lab>/secrets/          one file for each password, readable by its owner only
<lab>/minio/            the objects;  <lab>/mosquitto/ the broker's files
<lab>/config.toml       the configuration of every agent and submitter of the lab
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from agent.errors import EdgeAgentError, InvalidInput, Unavailable
from agent.process import Daemon, run, start_daemon

READY_SECONDS = 30.0
BUCKET = "edge-lab"
MINIO_VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
HOW = {
    "minio": f"go install github.com/minio/minio@{MINIO_VERSION}, then put it on PATH",
    "mosquitto": "install the package mosquitto",
    "mosquitto_passwd": "install the package mosquitto",
}
# Debian keeps the broker where only root looks.
_MORE_PLACES = "/usr/local/sbin:/usr/sbin:/sbin"


class Settings(msgspec.Struct, frozen=True):
    """Where the servers listen. address: an IP address or host name of this machine."""

    address: str = "127.0.0.1"
    minio_port: int = 9000
    mqtt_port: int = 1883


class Lab(msgspec.Struct, frozen=True):
    """A lab that was brought up: its settings, and the servers as they were started."""

    settings: Settings
    minio: Daemon
    mosquitto: Daemon


def programs(search: str) -> dict[str, str]:
    """Return the paths of the servers' programs in the directories of `search`, a PATH.

    Raises Unavailable naming each that is missing and how to get it.
    """
    found = {name: shutil.which(name, path=f"{search}:{_MORE_PLACES}") for name in HOW}
    missing = [f"{name} ({HOW[name]})" for name, path in found.items() if path is None]
    if missing:
        raise Unavailable("the lab needs " + " and ".join(missing))
    return {name: path for name, path in found.items() if path is not None}


def load(directory: Path) -> Lab | None:
    """Return the lab in the directory, or None when none was ever brought up there."""
    try:
        return msgspec.json.decode((directory / "lab.json").read_bytes(), type=Lab)
    except FileNotFoundError:
        return None


def status(lab: Lab) -> dict[str, bool]:
    """Return which servers run."""
    return {"minio": lab.minio.is_alive(), "mosquitto": lab.mosquitto.is_alive()}


def up(directory: Path, settings: Settings, make_queue: Callable[[Path], None]) -> Lab:
    """Bring the lab up, if it does not run; `make_queue` gets the configuration file and makes the stores.

    Raises InvalidInput when it runs elsewhere, Unavailable when a program is missing, a port is taken, or a server
    does not become ready.
    """
    before = load(directory)
    if before is not None and all(status(before).values()):
        _require_same(directory, before.settings, settings)
        return before
    found = programs(os.environ.get("PATH", os.defpath))
    down(directory)
    for port in (settings.minio_port, settings.mqtt_port):
        _require_free(settings.address, port)
    _write_files(directory, settings, found["mosquitto_passwd"])
    lab = _start(directory, settings, found)
    try:
        _wait_until(minio_is_ready, directory / "minio.log", lab.minio, settings.address, settings.minio_port)
        _wait_until(listens, directory / "mosquitto.log", lab.mosquitto, settings.address, settings.mqtt_port)
        make_queue(directory / "config.toml")
    except EdgeAgentError:
        down(directory)
        raise
    return lab


def down(directory: Path) -> bool:
    """Stop the servers; what they store stays. False when nothing ran."""
    lab = load(directory)
    if lab is None or not any(status(lab).values()):
        return False
    for daemon in (lab.mosquitto, lab.minio):
        daemon.stop()
    return True


def _require_same(directory: Path, runs: Settings, wanted: Settings) -> None:
    if runs != wanted:
        where = f"{runs.address}, ports {runs.minio_port} and {runs.mqtt_port}"
        raise InvalidInput(f"the lab in {directory} runs at {where}", hint="`edge-agent lab down` first")


def _write_files(directory: Path, settings: Settings, mosquitto_passwd: str) -> None:
    try:
        for name in ("secrets", "minio", "mosquitto"):
            (directory / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("minio-password", "mqtt-password"):
            if not (directory / "secrets" / name).exists():
                _write(directory / "secrets" / name, secrets.token_urlsafe(24))
        _write_passwords(directory, mosquitto_passwd)
        _write(directory / "mosquitto" / "mosquitto.conf", _mosquitto_conf(directory, settings))
        _write(directory / "config.toml", agent_config(directory, settings))
    except OSError as error:
        raise Unavailable(f"{error.filename}: {error.strerror}; choose another directory with --dir") from None


def _write_passwords(directory: Path, mosquitto_passwd: str) -> None:
    file = directory / "mosquitto" / "passwords"
    _write(file, "edge-agent:" + (directory / "secrets" / "mqtt-password").read_text(encoding="ascii") + "\n")
    # -U replaces the passwords in the file by their hashes: none of them is ever in a process list.
    done = run([mosquitto_passwd, "-U", str(file)], timeout=10)
    if done.status != 0:
        raise Unavailable(f"{mosquitto_passwd} failed: {done.err.strip() or done.out.strip()}")


def _mosquitto_conf(directory: Path, settings: Settings) -> str:
    lines = [
        f"listener {settings.mqtt_port} {settings.address}",
        "allow_anonymous false",
        f"password_file {directory}/mosquitto/passwords",
        "persistence true",
        f"persistence_location {directory}/mosquitto/",
    ]
    if os.geteuid() == 0:
        # Else it becomes a user who may not read these files.
        lines.append("user root")
    return "\n".join(lines) + "\n"


def agent_config(directory: Path, settings: Settings) -> str:
    """Return the configuration of an agent or submitter of the lab."""
    return f"""\
# Written by `edge-agent lab up`. To use it on another board, copy this file and the secrets it names.
[[queues]]
name = "lab"
url = "s3://{BUCKET}/lab"

[s3]
endpoint = "http://{settings.address}:{settings.minio_port}"
access_key = "edge-lab"
secret_key_file = {json.dumps(str(directory / "secrets/minio-password"))}

[mqtt]
url = "mqtt://{settings.address}:{settings.mqtt_port}"
username = "edge-agent"
password_file = {json.dumps(str(directory / "secrets/mqtt-password"))}
"""


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _start(directory: Path, settings: Settings, found: dict[str, str]) -> Lab:
    minio = _start_minio(directory, settings, found["minio"])
    try:
        conf = directory / "mosquitto" / "mosquitto.conf"
        environment = {"PATH": os.defpath}
        mosquitto = start_daemon([found["mosquitto"], "-c", str(conf)], directory / "mosquitto.log", environment)
    except EdgeAgentError:
        minio.stop()
        raise
    lab = Lab(settings, minio, mosquitto)
    _write(directory / "lab.json", msgspec.json.encode(lab).decode())
    return lab


def _start_minio(directory: Path, settings: Settings, program: str) -> Daemon:
    environment = {
        "MINIO_ROOT_USER": "edge-lab",
        "MINIO_ROOT_PASSWORD": (directory / "secrets" / "minio-password").read_text(encoding="ascii"),
        "MINIO_BROWSER": "off",
        "HOME": str(directory),
        "PATH": os.defpath,
    }
    argv = [program, "server", str(directory / "minio"), "--address", f"{settings.address}:{settings.minio_port}"]
    return start_daemon(argv, directory / "minio.log", environment)


def _require_free(address: str, port: int) -> None:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((address, port))
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise Unavailable(f"{address}:{port}: {why}; choose another port or address") from None


def listens(address: str, port: int) -> bool:
    """Say whether somebody listens there."""
    try:
        socket.create_connection((address, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def minio_is_ready(address: str, port: int) -> bool:
    """Say whether MinIO serves there; it listens some time before it does."""
    connection = http.client.HTTPConnection(address, port, timeout=1.0)
    try:
        connection.request("GET", "/minio/health/ready")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _wait_until(ready: Callable[[str, int], bool], log_file: Path, daemon: Daemon, address: str, port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not ready(address, port):
        if not daemon.is_alive() or time.monotonic() > deadline:
            lines = log_file.read_text(errors="replace").strip().splitlines()
            said = lines[-1] if lines else "it says nothing"
            raise Unavailable(f"{log_file.stem} does not start: {said}; see {log_file}")
        threading.Event().wait(0.05)
