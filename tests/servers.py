"""Real servers for tests, on 127.0.0.1 and free ports, with their data in folders that go with the test run."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import urllib3
from agent.config.s3 import S3Section

from tests.waiting import wait_until

if TYPE_CHECKING:
    from agent.adapters.s3 import S3Client

INSTALL = "packaging/install-test-tools.sh installs it"


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Say whether somebody listens on the port."""
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


# --- Mosquitto --------------------------------------------------------------------------------------------------------


class Mosquitto:
    """An MQTT broker that remembers nothing over its own end. `lines` are added to its configuration."""

    listen = "127.0.0.1"  # empty: on all addresses, for hosts with a network of their own

    def __init__(self, folder: Path, *lines: str) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        lines = lines or ("allow_anonymous true",)
        # As root it would become the user mosquitto, who may not read the files of a test.
        head = (f"listener {self.port} {self.listen}".rstrip(), "persistence false", "user root", "log_type all")
        (folder / "mosquitto.conf").write_text("\n".join((*head, *lines)) + "\n")

    @property
    def url(self) -> str:
        """Where it listens, without TLS."""
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and return when it answers."""
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        assert program is not None, f"mosquitto is missing; {INSTALL}"
        with (self._folder / "mosquitto.log").open("ab") as log:
            argv = [program, "-c", str(self._folder / "mosquitto.conf")]
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._process = process
        wait_until(lambda: answers(self.port) or process.poll() is not None, 10, "mosquitto answers")
        assert process.poll() is None, (self._folder / "mosquitto.log").read_text()

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it with a signal; SIGKILL is a crash."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(10)
            self._process = None

    def log(self) -> str:
        """Return what it logged."""
        return (self._folder / "mosquitto.log").read_text()


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A broker for everybody; tests that stop it use one of their own, from new_mosquitto."""
    server = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    server.start()
    yield server
    server.stop(signal.SIGKILL)


@pytest.fixture
def new_mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """A function from lines of configuration to a broker that is started, and ended with the test."""
    made: list[Mosquitto] = []

    def make(*lines: str) -> Mosquitto:
        made.append(Mosquitto(tmp_path / f"mosquitto-{len(made)}", *lines))
        made[-1].start()
        return made[-1]

    yield make
    for server in made:
        server.stop(signal.SIGKILL)


# --- Pub/Sub ----------------------------------------------------------------------------------------------------------


class Emulator:
    """Google's Pub/Sub emulator. It forgets everything when it ends, stores filters and applies none."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.endpoint = f"127.0.0.1:{self.port}"
        self._log = folder / "pubsub-emulator.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it on its port, empty, and return when it answers."""
        argv = [*DIES_WITH_PARENT, str(_emulator_program()), "--host=127.0.0.1", f"--port={self.port}"]
        environ = {**os.environ, "JAVA_OPTS": "-Xmx256m -XX:TieredStopAtLevel=1"}
        with self._log.open("ab") as log:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ)
        self._process = process
        wait_until(lambda: answers(self.port) or process.poll() is not None, 30, "the Pub/Sub emulator answers")
        assert process.poll() is None, self._log.read_text()

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


# A run of the tests that is killed takes its servers along.
DIES_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")


def _emulator_program() -> Path:
    found = shutil.which("cloud-pubsub-emulator")
    if found is not None:
        return Path(found)
    gcloud = shutil.which("gcloud")
    assert gcloud is not None, f"neither cloud-pubsub-emulator nor gcloud is on PATH; {INSTALL}"
    program = Path(gcloud).resolve().parents[1] / "platform/pubsub-emulator/bin/cloud-pubsub-emulator"
    assert program.exists(), f"{program} is missing; {INSTALL}"
    return program


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator for everybody; tests use topics of their own, and those that stop it an own one."""
    server = Emulator(tmp_path_factory.mktemp("pubsub"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_emulator(tmp_path: Path) -> Iterator[Emulator]:
    """An emulator that the test may stop."""
    server = Emulator(tmp_path)
    server.start()
    yield server
    server.stop()


# --- MinIO ------------------------------------------------------------------------------------------------------------


class Minio:
    """An S3 server. certs: a folder with public.crt and private.key, for TLS; variables: more of its environment."""

    listen = "127.0.0.1"  # empty: on all addresses, for hosts with a network of their own
    access_key = "edge-agent-test"
    secret_key = "a secret of the tests"

    def __init__(self, program: Path, folder: Path, certs: Path | None = None, **variables: str) -> None:
        self.port = free_port()
        self._program = program
        self._folder = folder
        self._certs = certs or folder / "no-certs"
        self._variables = variables
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        scheme = "https" if (self._certs / "public.crt").exists() else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    def section(self, **keys: str) -> S3Section:
        """Return the configuration [s3] for it; `keys` replace or add some."""
        own = {"endpoint": self.endpoint, "access_key": self.access_key, "secret_key": self.secret_key}
        return S3Section(**{**own, **keys})  # type: ignore[arg-type]

    def client(self, **keys: str) -> S3Client:
        """Return a client of it."""
        from agent.adapters.s3 import connect  # tests without this server do without its client

        return connect(self.section(**keys), {})

    def start(self) -> None:
        """Start it, and return when it answers."""
        assert self._program.exists(), f"{self._program} is missing; {INSTALL}"
        own = {"MINIO_ROOT_USER": self.access_key, "MINIO_ROOT_PASSWORD": self.secret_key, "MINIO_BROWSER": "off"}
        # Deleted objects pile up for minutes otherwise.
        environment = {**os.environ, **own, "MINIO_API_DELETE_CLEANUP_INTERVAL": "5s", **self._variables}
        argv = [str(self._program), "server", str(self._folder / "data"), "--address", f"{self.listen}:{self.port}"]
        argv += ["--quiet", "--certs-dir", str(self._certs)]
        with (self._folder / "minio.log").open("ab") as log:
            process = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._process = process
        wait_until(lambda: self._is_ready() or process.poll() is not None, 30, "MinIO answers")
        assert process.poll() is None, (self._folder / "minio.log").read_text()

    def stop(self, number: int = signal.SIGKILL) -> None:
        """End it with a signal."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(10)
            self._process = None

    def _is_ready(self) -> bool:
        """It listens before it can serve."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
        try:
            opener.open(f"{self.endpoint}/minio/health/ready", timeout=2).close()
        except OSError:
            return False
        return True


@pytest.fixture(scope="session")
def minio(tools_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minio]:
    """An S3 server for everybody; tests that stop it use one of their own, from new_minio."""
    server = Minio(tools_cache / "bin/minio", tmp_path_factory.mktemp("minio"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def new_minio(tools_cache: Path, tmp_path: Path) -> Iterator[Callable[..., Minio]]:
    """A function from the arguments of Minio to a server that is started, and ended with the test."""
    made: list[Minio] = []

    def make(certs: Path | None = None, **variables: str) -> Minio:
        made.append(Minio(tools_cache / "bin/minio", tmp_path / f"minio-{len(made)}", certs, **variables))
        made[-1].start()
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def bucket(minio: Minio) -> str:
    """A bucket for this test alone."""
    name = f"test-{secrets.token_hex(8)}"
    minio.client().ensure_bucket(name)
    return name


# --- Google Cloud Storage ---------------------------------------------------------------------------------------------


class FakeGcs:
    """fake-gcs-server, which speaks the JSON protocol of Cloud Storage and asks nobody for credentials.

    It forgets everything when it ends. A question how far an upload has come ends the upload; a part that comes twice
    is stored twice.
    """

    def __init__(self, program: Path, folder: Path) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._program = program
        self._log = folder / "fake-gcs-server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it on its port, empty, and return when it answers."""
        assert self._program.exists(), f"{self._program} is missing; {INSTALL}"
        argv = [*DIES_WITH_PARENT, str(self._program), "-scheme", "http", "-host", "127.0.0.1"]
        argv += ["-port", str(self.port), "-public-host", f"127.0.0.1:{self.port}"]
        argv += ["-backend", "memory", "-log-level", "warn"]
        with self._log.open("ab") as log:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._process = process
        wait_until(lambda: answers(self.port) or process.poll() is not None, 30, "fake-gcs-server answers")
        assert process.poll() is None, self._log.read_text()

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def make_bucket(self, name: str) -> None:
        """Make an empty bucket."""
        answer = urllib3.request("POST", f"{self.endpoint}/storage/v1/b?project=lab", json={"name": name}, timeout=10)
        assert answer.status == 200, answer.data


@pytest.fixture(scope="session")
def gcs(tools_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeGcs]:
    """A Cloud Storage for everybody; tests that stop it use one of their own, from own_gcs."""
    server = FakeGcs(tools_cache / "bin/fake-gcs-server", tmp_path_factory.mktemp("gcs"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_gcs(tools_cache: Path, tmp_path: Path) -> Iterator[FakeGcs]:
    """A Cloud Storage that the test may stop."""
    server = FakeGcs(tools_cache / "bin/fake-gcs-server", tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def gcs_bucket(gcs: FakeGcs) -> str:
    """A bucket for this test alone."""
    name = f"test-{secrets.token_hex(8)}"
    gcs.make_bucket(name)
    return name


# --- a registry of container images -----------------------------------------------------------------------------------


class Registry:
    """A registry without TLS that anybody may read and write."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Start it, and return when it answers."""
        assert self._program.exists(), f"{self._program} is missing; {INSTALL}"
        settings = self._folder / "registry.yml"
        storage = f"{{filesystem: {{rootdirectory: {self._folder / 'data'}}}}}"
        settings.write_text(f"version: 0.1\nstorage: {storage}\nhttp: {{addr: '{self.host}'}}\n")
        with (self._folder / "registry.log").open("ab") as log:
            argv = [*DIES_WITH_PARENT, str(self._program), "serve", str(settings)]
            environ = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ)
        self._process = process
        wait_until(lambda: answers(self.port) or process.poll() is not None, 10, "the registry answers")
        assert process.poll() is None, (self._folder / "registry.log").read_text()

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def lose_blob(self, digest: str) -> None:
        """Forget the content of a blob, as a disk that fails does."""
        kind, _, name = digest.partition(":")
        (self._folder / "data/docker/registry/v2/blobs" / kind / name[:2] / name / "data").unlink()

    def requests(self) -> list[str]:
        """Return the method and path of every request it has answered, oldest first."""
        text = (self._folder / "registry.log").read_text()
        return [f"{method} {path}" for method, path in _REQUEST.findall(text)]


_REQUEST = re.compile(r'"([A-Z]+) (\S+) HTTP/')


@pytest.fixture(scope="session")
def registry(tools_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry for everybody; tests use repositories of their own."""
    server = Registry(tools_cache / "bin/registry", tmp_path_factory.mktemp("registry"))
    server.start()
    yield server
    server.stop()
