"""A lab without internet on one machine: MinIO and Mosquitto, encrypted, with accounts and a store queue on them.

<lab>/lab.json          where the servers listen, and which processes they are
<lab>/secrets/          one file for each generated password
<lab>/authority/        the lab's own authority, and its key
<lab>/certificates/     what the servers show
<lab>/minio/            the objects;  <lab>/mosquitto/ the broker's files;  <lab>/minio.env MinIO's settings
<lab>/lab-agent.toml    all that an agent of the lab needs;  lab-submit.toml, lab-operator.toml the same for people

Its owner alone may read any of them.
"""

from __future__ import annotations

import http.client
import os
import secrets
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from agent.config.s3 import S3Section
from agent.errors import EdgeAgentError, InvalidInput, Unavailable
from agent.lab import certificates
from agent.lab.accounts import ACCOUNTS, Account, Secrets, Servers, broker_rules, config_text
from agent.lab.certificates import write_private
from agent.process import Daemon, run, start_daemon

READY_SECONDS = 30.0
MINIO_VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
HOW = {
    "minio": f"go install github.com/minio/minio@{MINIO_VERSION}, then put it on PATH",
    "mosquitto": "install the package mosquitto",
    "mosquitto_passwd": "install the package mosquitto",
}
ADMINISTRATOR = "edge-lab"
# Debian keeps the broker where only root looks.
_MORE_PLACES = "/usr/local/sbin:/usr/sbin:/sbin"
_LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"  # noqa: S104 - it is what is compared with


class Settings(msgspec.Struct, frozen=True):
    """Where the servers listen. address: an IP address or host name of this machine, or 0.0.0.0 for all it has.

    names: other host names and addresses by which boards reach it; the first is written into their configuration.
    """

    address: str = _LOOPBACK
    minio_port: int = 9000
    mqtt_port: int = 8883
    names: tuple[str, ...] = ()

    @property
    def public(self) -> str:
        """The host by which boards reach the servers."""
        return self.names[0] if self.names else self.address

    @property
    def near(self) -> str:
        """The host by which this machine reaches them."""
        return _LOOPBACK if self.address == EVERYWHERE else self.address

    @property
    def certified(self) -> tuple[str, ...]:
        """All names and addresses for which the servers have a certificate."""
        own = () if self.address == EVERYWHERE else (self.address,)
        return tuple(sorted({*self.names, *own, _LOOPBACK, "localhost"}))


class Lab(msgspec.Struct, frozen=True):
    """A lab that was made: its settings, and the servers as they were started last, None = never from here."""

    settings: Settings
    minio: Daemon | None = None
    mosquitto: Daemon | None = None


class Store(msgspec.Struct, frozen=True):
    """The store that is to be set up: the server with its administrator's key, and each account's secret key."""

    section: S3Section
    secrets: dict[str, str]


def programs(search: str, names: Collection[str] = tuple(HOW)) -> dict[str, str]:
    """Return the paths of the servers' programs in the directories of `search`, a PATH.

    Raises Unavailable naming each that is missing and how to get it.
    """
    found = {name: shutil.which(name, path=f"{search}:{_MORE_PLACES}") for name in names}
    missing = [f"{name} ({HOW[name]})" for name, path in found.items() if path is None]
    if missing:
        raise Unavailable("the lab needs " + " and ".join(missing))
    return {name: path for name, path in found.items() if path is not None}


def load(directory: Path) -> Lab | None:
    """Return the lab in the directory, or None when none was ever made there."""
    try:
        return msgspec.json.decode((directory / "lab.json").read_bytes(), type=Lab)
    except FileNotFoundError:
        return None


def status(lab: Lab) -> dict[str, bool]:
    """Return which servers run; of those that somebody else starts, which answer."""
    near, minio, mosquitto = lab.settings.near, lab.minio, lab.mosquitto
    return {
        "minio": listens(near, lab.settings.minio_port) if minio is None else minio.is_alive(),
        "mosquitto": listens(near, lab.settings.mqtt_port) if mosquitto is None else mosquitto.is_alive(),
    }


def up(directory: Path, settings: Settings, set_up: Callable[[Store], None]) -> Lab:
    """Bring the lab up, if it does not run; `set_up` makes bucket, rules and accounts on the store.

    A lab that runs with a certificate near its end is started anew with another one. Raises InvalidInput when it runs
    elsewhere, Unavailable when a program is missing, a port is taken, or a server does not become ready.
    """
    before = load(directory)
    if before is not None and all(status(before).values()):
        _require_same(directory, before.settings, settings)
        if not certificates.is_due(directory, settings.certified, datetime.now(timezone.utc)):
            return before
    found = programs(os.environ.get("PATH", os.defpath))
    down(directory)
    for port in (settings.minio_port, settings.mqtt_port):
        _require_free(settings.address, port)
    write_files(directory, settings, found["mosquitto_passwd"])
    lab = _start(directory, settings, found)
    try:
        authority = certificates.authority_file(directory)
        _wait_until(lambda: minio_is_ready(settings, authority), directory / "minio.log", lab.minio)
        _wait_until(lambda: listens(settings.near, settings.mqtt_port), directory / "mosquitto.log", lab.mosquitto)
        set_up(store_of(directory, settings))
    except EdgeAgentError:
        down(directory)
        raise
    return lab


def down(directory: Path) -> bool:
    """Stop the servers; what they store stays. False when nothing ran."""
    lab = load(directory)
    running = [] if lab is None else [daemon for daemon in _daemons(lab) if daemon.is_alive()]
    for daemon in running:
        daemon.stop()
    return bool(running)


def _daemons(lab: Lab) -> list[Daemon]:
    """Return the servers that were started from here, in the order in which they are to end."""
    return [daemon for daemon in (lab.mosquitto, lab.minio) if daemon is not None]


def store_of(directory: Path, settings: Settings) -> Store:
    """Return the store of a lab whose files were written."""
    section = S3Section(
        endpoint=f"https://{settings.near}:{settings.minio_port}",
        ca_file=str(certificates.authority_file(directory)),
        access_key=ADMINISTRATOR,
        secret_key_file=str(directory / "secrets/minio-administrator"),
    )
    return Store(section, {account.kind: _secrets(directory, account).store for account in ACCOUNTS})


def write_files(directory: Path, settings: Settings, mosquitto_passwd: str) -> None:
    """Write all files of the lab; passwords, authority and what is stored stay as they are.

    Raises InvalidInput for settings that no board could use, Unavailable when the directory cannot be written.
    """
    if settings.public == EVERYWHERE:
        raise InvalidInput(f"boards cannot reach {EVERYWHERE}", hint="say with --name by what name or address they do")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("secrets", "authority", "certificates", "minio", "mosquitto"):
            (directory / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("minio-administrator", *(f"{kind}-{each.kind}" for each in ACCOUNTS for kind in ("s3", "mqtt"))):
            if not (directory / "secrets" / name).exists():
                _write(directory / "secrets" / name, secrets.token_urlsafe(24))
        certificates.ensure(directory, settings.certified, datetime.now(timezone.utc))
        _write_broker_files(directory, settings, mosquitto_passwd)
        listens_at = {"MINIO_LISTENS": f"{settings.address}:{settings.minio_port}"}
        variables = {**minio_variables(directory), **listens_at}
        _write(directory / "minio.env", "".join(f"{key}={value}\n" for key, value in variables.items()))
        _write_configs(directory, settings)
    except OSError as error:
        raise Unavailable(f"{error.filename}: {error.strerror}; choose another directory with --dir") from None


def prepare(directory: Path, settings: Settings) -> None:
    """Write all files for servers that somebody else starts, systemd for one; start nothing.

    Raises InvalidInput when the lab runs from here, and as `write_files` does.
    """
    before = load(directory)
    if before is not None and any(daemon.is_alive() for daemon in _daemons(before)):
        raise InvalidInput(f"the lab in {directory} was started by `lab up`", hint="`edge-agent lab down` first")
    found = programs(os.environ.get("PATH", os.defpath), ["mosquitto_passwd"])
    write_files(directory, settings, found["mosquitto_passwd"])
    _write(directory / "lab.json", msgspec.json.encode(Lab(settings)).decode())


def finish(directory: Path, settings: Settings, set_up: Callable[[Store], None]) -> None:
    """Wait for the store that somebody else starts, and set it up. Raises Unavailable."""
    authority = certificates.authority_file(directory)
    deadline = time.monotonic() + READY_SECONDS
    while not minio_is_ready(settings, authority):
        if time.monotonic() > deadline:
            raise Unavailable(f"MinIO does not answer at {settings.near}:{settings.minio_port}; see its log")
        threading.Event().wait(0.2)
    set_up(store_of(directory, settings))


def minio_variables(directory: Path) -> dict[str, str]:
    """Return what MinIO is told in its environment."""
    return {
        "MINIO_ROOT_USER": ADMINISTRATOR,
        "MINIO_ROOT_PASSWORD": (directory / "secrets/minio-administrator").read_text(encoding="ascii"),
        "MINIO_BROWSER": "off",
    }


def _require_same(directory: Path, runs: Settings, wanted: Settings) -> None:
    if runs != wanted:
        where = f"{runs.address}, ports {runs.minio_port} and {runs.mqtt_port}, for {', '.join(runs.certified)}"
        raise InvalidInput(f"the lab in {directory} runs at {where}", hint="`edge-agent lab down` first")


def _secrets(directory: Path, account: Account) -> Secrets:
    names = (f"s3-{account.kind}", f"mqtt-{account.kind}")
    return Secrets(*((directory / "secrets" / name).read_text(encoding="ascii") for name in names))


def _write_broker_files(directory: Path, settings: Settings, mosquitto_passwd: str) -> None:
    file = directory / "mosquitto/passwords"
    _write(file, "".join(f"{each.user}:{_secrets(directory, each).broker}\n" for each in ACCOUNTS))
    # -U replaces the passwords in the file by their hashes: none of them is ever in a process list.
    done = run([mosquitto_passwd, "-U", str(file)], timeout=10)
    if done.status != 0:
        raise Unavailable(f"{mosquitto_passwd} failed: {done.err.strip() or done.out.strip()}")
    _write(directory / "mosquitto/rules", broker_rules())
    _write(directory / "mosquitto/mosquitto.conf", _mosquitto_conf(directory, settings))


def _mosquitto_conf(directory: Path, settings: Settings) -> str:
    certificate, key = certificates.server_files(directory)
    lines = [
        f"listener {settings.mqtt_port} {settings.address}",
        f"certfile {certificate}",
        f"keyfile {key}",
        "tls_version tlsv1.2",
        "allow_anonymous false",
        f"password_file {directory}/mosquitto/passwords",
        f"acl_file {directory}/mosquitto/rules",
        "persistence true",
        f"persistence_location {directory}/mosquitto/",
    ]
    if os.geteuid() == 0:
        # Else it becomes a user who may not read these files.
        lines.append("user root")
    return "\n".join(lines) + "\n"


def _write_configs(directory: Path, settings: Settings) -> None:
    servers = Servers(
        endpoint=f"https://{settings.public}:{settings.minio_port}",
        broker=f"mqtts://{settings.public}:{settings.mqtt_port}",
        authority=certificates.authority_file(directory).read_text(encoding="ascii"),
    )
    for account in ACCOUNTS:
        _write(directory / account.config_name, config_text(account, servers, _secrets(directory, account)))


def _write(path: Path, text: str) -> None:
    write_private(path, text.encode())


def _start(directory: Path, settings: Settings, found: dict[str, str]) -> Lab:
    minio = _start_minio(directory, settings, found["minio"])
    try:
        conf = directory / "mosquitto/mosquitto.conf"
        environment = {"PATH": os.defpath}
        mosquitto = start_daemon([found["mosquitto"], "-c", str(conf)], directory / "mosquitto.log", environment)
    except EdgeAgentError:
        minio.stop()
        raise
    lab = Lab(settings, minio, mosquitto)
    _write(directory / "lab.json", msgspec.json.encode(lab).decode())
    return lab


def _start_minio(directory: Path, settings: Settings, program: str) -> Daemon:
    environment = {**minio_variables(directory), "HOME": str(directory), "PATH": os.defpath}
    argv = [program, "server", str(directory / "minio"), "--address", f"{settings.address}:{settings.minio_port}"]
    argv += ["--certs-dir", str(directory / "certificates")]
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


def minio_is_ready(settings: Settings, authority: Path) -> bool:
    """Say whether MinIO serves there; it listens some time before it does."""
    context = ssl.create_default_context(cafile=str(authority))
    connection = http.client.HTTPSConnection(settings.near, settings.minio_port, timeout=1.0, context=context)
    try:
        connection.request("GET", "/minio/health/ready")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _wait_until(ready: Callable[[], bool], log_file: Path, daemon: Daemon | None) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not ready():
        if daemon is None or not daemon.is_alive() or time.monotonic() > deadline:
            lines = log_file.read_text(errors="replace").strip().splitlines()
            said = lines[-1] if lines else "it says nothing"
            raise Unavailable(f"{log_file.stem} does not start: {said}; see {log_file}")
        threading.Event().wait(0.05)
