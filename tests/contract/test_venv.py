"""Virtual environments as pip and as uv make them, with real packages: one of the index, others of this file."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from agent.adapters.apptainer import ApptainerRuntime
from agent.adapters.clock import SystemClock
from agent.adapters.venv import VenvImages
from agent.cache import Cache
from agent.errors import JobFault, StoreUnavailable
from agent.model.cargo import VENV_IMAGE, Cargo, Venv
from agent.model.job import Image
from agent.ports import ContainerRun, ImageFetcher

IMAGE = Image(VENV_IMAGE)
CLOSED = "http://127.0.0.1:9/simple"
GREETER = "greeter.py"
BROKEN = "raise SystemExit('this package needs a compiler that is not here')\n"


def write_wheel(folder: Path, version: str) -> None:
    """A wheel of the package "greeter" with a program of the same name."""
    info = f"greeter-{version}.dist-info"
    with zipfile.ZipFile(folder / f"greeter-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(GREETER, f"def main():\n    print('greeter {version}')\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: greeter\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/entry_points.txt", "[console_scripts]\ngreeter = greeter:main\n")
        wheel.writestr(f"{info}/RECORD", "")


def write_sdist(folder: Path, name: str, setup: str) -> None:
    tree = folder / "tree" / f"{name}-1.0"
    tree.mkdir(parents=True)
    (tree / "setup.py").write_text(setup)
    (tree / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    with tarfile.open(folder / f"{name}-1.0.tar.gz", "w:gz") as archive:
        archive.add(tree, tree.name)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages: greeter 1.0 and 2.0, and "broken", which cannot be built."""
    folder = tmp_path_factory.mktemp("packages")
    for version in ("1.0", "2.0"):
        write_wheel(folder, version)
    write_sdist(folder, "broken", BROKEN)
    return folder


@pytest.fixture(scope="module")
def uv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a uv from the index."""
    place = tmp_path_factory.mktemp("uv") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True, timeout=100)
    subprocess.run([place / "bin/python", "-m", "pip", "install", "-q", "uv"], check=True, timeout=100)
    # Beside it lies a Python that is none to be found.
    alone = place.parent / "bin"
    alone.mkdir()
    (alone / "uv").symlink_to(place / "bin/uv")
    return alone


@pytest.fixture(params=["pip", "uv"])
def tool(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def environ(request: pytest.FixtureRequest, tool: str) -> dict[str, str]:
    """The agent's environment, in which uv is on PATH or is not."""
    folders = ["/usr/local/bin", "/usr/bin", "/bin"]
    folders = [each for each in folders if not Path(each, "uv").exists()]
    if tool == "uv":
        folders.insert(0, str(request.getfixturevalue("uv")))
    return {**os.environ, "PATH": os.pathsep.join(folders), "UV_HTTP_RETRIES": "0", "PIP_RETRIES": "0"}


@pytest.fixture
def local(environ: dict[str, str], packages: Path) -> dict[str, str]:
    """The same, for packages of the folder only."""
    alone = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(packages), "UV_OFFLINE": "1", "UV_FIND_LINKS": str(packages)}
    return {**environ, **alone}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("a cache")


@pytest.fixture
def cache(root: Path, tool: str) -> Cache:
    """One for all tests of a tool: equal environments are made once."""
    return Cache(root / tool, lambda: 10**10, lambda: (), SystemClock())


def images_of(cache: Cache, environ: Mapping[str, str]) -> ImageFetcher:
    return VenvImages(cache, lambda: "amd64", environ, pause=0.0)


def fetch(cache: Cache, environ: Mapping[str, str], *requirements: str, extra: tuple[str, ...] = ()) -> Path:
    images, cargo = images_of(cache, environ), Cargo(venv=Venv("3", requirements, extra))
    facts = images.facts(IMAGE, cargo)
    assert facts is not None
    assert facts.problem is None
    return images.fetch(IMAGE, cargo)


def said(*argv: str | Path) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True, env={"PATH": os.defpath})
    return done.stdout.strip()


def test_a_package_of_the_index_can_be_imported(cache: Cache, environ: dict[str, str], tool: str) -> None:
    place = fetch(cache, environ, "six==1.17.0")
    script = "import six, sys; print(six.__version__, sys.prefix == sys.argv[1] != sys.base_prefix)"
    assert said(place / "bin/python", "-c", script, place) == "1.17.0 True"
    assert ("uv = " in (place / "pyvenv.cfg").read_text()) is (tool == "uv")


def greeting(cache: Cache, local: dict[str, str]) -> Path:
    return fetch(cache, local, "greeter==1.0", extra=("greeter==2.0",))


def test_programs_of_packages_run_from_where_the_environment_lies(cache: Cache, local: dict[str, str]) -> None:
    place = greeting(cache, local)
    assert str(place) in (place / "bin/greeter").read_text()
    assert said(place / "bin/greeter").startswith("greeter ")
    assert greeting(cache, local) == place


def test_extra_packages_come_after_the_others(cache: Cache, local: dict[str, str]) -> None:
    assert said(greeting(cache, local) / "bin/greeter") == "greeter 2.0"


def test_pip_is_that_of_the_python_whoever_makes_the_environment(cache: Cache, local: dict[str, str]) -> None:
    place = greeting(cache, local)
    listing = said(place / "bin/python", "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check")
    bundled = said(sys.executable, "-c", "import ensurepip; print(ensurepip.version())")
    names = ["greeter", "pip"] if sys.version_info >= (3, 12) else ["greeter", "pip", "setuptools"]
    assert [line.split("==")[0] for line in sorted(listing.splitlines())] == names
    assert f"pip=={bundled}" in listing


@pytest.mark.parametrize("line", ["greeter==9.9", "greeter=!1"])
def test_what_cannot_be_installed_is_the_fault_of_the_job(
    cache: Cache, local: dict[str, str], root: Path, tool: str, line: str
) -> None:
    greeting(cache, local)
    before = list((root / tool).rglob("*"))
    with pytest.raises(JobFault, match=f"{tool} ended with status [12]: .*{line[:7]}"):
        fetch(cache, local, line)
    assert list((root / tool).rglob("*")) == before


def test_a_package_that_cannot_be_built_is_told_with_its_own_words(cache: Cache, local: dict[str, str]) -> None:
    # It is built by what the environment has. To pip, 0 says so.
    environ = {**local, "PIP_NO_BUILD_ISOLATION": "0", "UV_NO_BUILD_ISOLATION": "1"}
    with pytest.raises(JobFault, match="needs a compiler that is not here") as caught:
        fetch(cache, environ, "broken==1.0")
    assert "\n" not in str(caught.value)


def test_an_index_that_cannot_be_reached_is_no_fault_of_the_job(cache: Cache, environ: dict[str, str]) -> None:
    environ |= {"PIP_INDEX_URL": CLOSED, "UV_INDEX_URL": CLOSED}
    with pytest.raises(StoreUnavailable, match="refused"):
        fetch(cache, environ, "no-such-package-of-anybody==1")


class _Files(SimpleHTTPRequestHandler):
    """Files, or for the paths below /503 and the like just that status."""

    def do_GET(self) -> None:
        first = self.path.split("/")[1]
        if first.isdecimal():
            self.send_error(int(first))
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server of the files in "srv"."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(tmp_path / "srv")))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("status", "kind"), [(503, StoreUnavailable), (404, JobFault)])
def test_what_the_index_answers_decides(
    cache: Cache, environ: dict[str, str], server: str, status: int, kind: type[Exception]
) -> None:
    environ |= {"PIP_INDEX_URL": f"{server}/{status}", "UV_INDEX_URL": f"{server}/{status}"}
    with pytest.raises(kind, match="no-such-package-of-anybody"):
        fetch(cache, environ, "no-such-package-of-anybody==1")


def test_an_address_that_lets_nobody_in_is_the_fault_of_the_job(
    cache: Cache, environ: dict[str, str], server: str
) -> None:
    with pytest.raises(JobFault, match="403"):
        fetch(cache, environ, f"greeter @ {server}/403/greeter-1.0-py3-none-any.whl")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A bare repository of a package, to be served as files."""
    tree, bare = tmp_path / "tree", tmp_path / "srv" / "tool.git"
    tree.mkdir()
    (tree / "setup.py").write_text(
        "from setuptools import setup\nsetup(name='tool', version='1', py_modules=['tool'])\n"
    )
    (tree / "tool.py").write_text("WORD = 'from git'\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-C", str(tree)]
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["commit", "-q", "-m", "first"],
        ["clone", "-q", "--bare", ".", str(bare)],
    ):
        subprocess.run([*git, *words], check=True, timeout=30)
    subprocess.run(["git", "-C", str(bare), "update-server-info"], check=True, timeout=30)
    return bare.parent


@pytest.mark.usefixtures("repository")
def test_a_repository_as_pip_freeze_names_it_is_installed(cache: Cache, environ: dict[str, str], server: str) -> None:
    place = fetch(cache, environ, f"-e git+{server}/tool.git#egg=tool")
    assert said(place / "bin/python", "-c", "import tool; print(tool.WORD)") == "from git"


def test_a_job_runs_in_it(cache: Cache, local: dict[str, str], tmp_path: Path) -> None:
    state = tmp_path / "state"
    directory = state / "attempts" / "job.1"
    for name in ("work", "tmp"):
        (directory / name).mkdir(parents=True)
    run = ContainerRun(
        attempt_id="job.1",
        directory=directory,
        image=greeting(cache, local),
        command=("python", "-c", "import greeter, subprocess; greeter.main(); subprocess.run(['greeter'])"),
        env={"PATH": "/usr/bin:./bin"},
        home=directory / "work",
        workdir=".",
        network="host",
        cpus=1.0,
        memory=256 * 1024**2,
        timeout=60.0,
        grace=1.0,
        log=directory / "log",
    )
    runtime = ApptainerRuntime(state, lambda: None)
    try:
        runtime.start(run)
        ended = runtime.status("job.1", 60.0).exit
        assert ended is not None
        assert (directory / "log").read_text() == "greeter 2.0\n" * 2
        assert ended.exit_code == 0
    finally:
        runtime.remove("job.1")
        runtime.end()
