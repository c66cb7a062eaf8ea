"""Virtual environments made by programs that only look like Pythons: what they are told, what their end means."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from agent.adapters.clock import SystemClock
from agent.adapters.pythons import is_version
from agent.adapters.venv import VenvImages, fault_of
from agent.cache import Cache
from agent.errors import EdgeAgentError, HostFault, JobFault, StoreUnavailable
from agent.model.cargo import VENV_IMAGE, Cargo, Venv
from agent.model.job import Image
from agent.process import Completed

IMAGE = Image(VENV_IMAGE)
UNREACHABLE = (
    "WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None)) after connection broken by "
    "'NewConnectionError('<HTTPSConnection object at 0x7f>: Failed to establish a new connection: [Errno 111] "
    "Connection refused')': /simple/six/\nERROR: No matching distribution found for six\n"
)
SILENT = (
    "ERROR: Could not find a version that satisfies the requirement six (from versions: none)\n"
    "ERROR: No matching distribution found for six\n"
)
# Answers who it is; makes a "python" that notes what it is told to install, and fails as often as `failures` has lines.
PYTHON = """#!/bin/sh
PATH=/usr/bin:/bin
case "$2 $3" in
-c*) echo '{answer}' ;;
"-m venv") mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
"-m pip")
    for file in "$@"; do :; done
    [ -s "$file" ] && {{ echo "$@"; cat "$file"; env; }} >>{folder}/installed
    [ "${{file%.log}}" = "$file" ] || cp {folder}/logged "$file"
    [ ! -s {folder}/failures ] || {{ sed -i 1d {folder}/failures; cat {folder}/said >&2; exit 1; }} ;;
esac
"""


class Bench:
    """A PATH of its own with what a test puts on it, and a cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.environ = {"PATH": str(self.bin), "HOME": str(folder)}
        self.cache = Cache(folder / "cache", lambda: 10**9, lambda: (), SystemClock())

    def program(self, name: str, script: str) -> Path:
        path = self.bin / name
        path.write_text(script)
        path.chmod(0o755)
        return path

    def python(self, name: str, version: str, *, complete: bool = True) -> Path:
        path = self.bin / name
        answer = json.dumps([str(path), version, "linux-x86_64", complete, []])
        return self.program(name, PYTHON.format(answer=answer, folder=self.folder))

    def fail(self, times: int, said: str, logged: str = "") -> None:
        (self.folder / "said").write_text(said)
        (self.folder / "logged").write_text(logged)
        (self.folder / "failures").write_text("once\n" * times)

    @property
    def installed(self) -> str:
        path = self.folder / "installed"
        return path.read_text() if path.exists() else ""

    @property
    def images(self) -> VenvImages:
        return VenvImages(self.cache, lambda: "amd64", self.environ, pause=0.0)

    def problem(self, python: str = "3.95") -> str | None:
        facts = self.images.facts(IMAGE, Cargo(venv=Venv(python)))
        assert facts is not None
        assert (facts.arch, facts.size) == ("amd64", 0)
        return facts.problem

    def fetch(self, *requirements: str, extra: tuple[str, ...] = (), python: str = "3.95") -> Path:
        return self.images.fetch(IMAGE, Cargo(venv=Venv(python, requirements, extra)))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# --- which Python ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["", "3"])
def test_whoever_does_not_care_gets_the_python_of_the_agent(bench: Bench, wanted: str) -> None:
    assert bench.problem(wanted) is None


def test_the_version_that_is_asked_for_is_found_on_path(bench: Bench) -> None:
    bench.python("python3.95", "3.95.2")
    assert [bench.problem(each) for each in ("3.95", "3.95.2")] == [None, None]


def test_a_version_that_is_not_here_is_a_problem_with_a_remedy(bench: Bench) -> None:
    assert bench.problem("3.95") == "no Python 3.95 on this host; install python3.95 or uv"
    bench.program("uv", "#!/bin/sh\nexit 1\n")
    assert "`uv python install 3.95`" in (bench.problem("3.95") or "")


def test_a_version_is_compared_by_whole_numbers(bench: Bench) -> None:
    bench.python("python3", "3.95.2")
    assert "no Python 3.9 on this host" in (bench.problem("3.9") or "")
    assert "no Python 3.95.1 on this host" in (bench.problem("3.95.1") or "")
    assert bench.problem("3.95") is None


def test_a_name_that_does_not_run_is_passed_over(bench: Bench) -> None:
    bench.program("python3.95", "#!/bin/sh\necho 'pyenv: python3.95: command not found' >&2\nexit 127\n")
    assert "no Python 3.95" in (bench.problem("3.95") or "")
    second = bench.folder / "second"
    second.mkdir()
    bench.python("python3.95", "3.95.2").rename(second / "python3.95")
    bench.program("python3.95", "#!/bin/sh\necho nonsense\n")
    bench.environ["PATH"] = f"{bench.bin}:{second}"
    assert bench.problem("3.95") is None


def test_a_python_without_its_venv_module_is_named_with_the_package_that_has_it(bench: Bench) -> None:
    bench.python("python3.95", "3.95.2", complete=False)
    problem = bench.problem("3.95") or ""
    assert "Python 3.95.2 on this host makes no virtual environments" in problem
    assert "python3.95-venv" in problem


def test_a_python_that_uv_manages_is_found_by_it(bench: Bench) -> None:
    managed = bench.python("managed", "3.95.7", complete=False)
    only = 'test "$UV_PYTHON_DOWNLOADS $UV_PYTHON_PREFERENCE" = "never only-managed"'
    bench.program("uv", f'#!/bin/sh\ntest "$*" = "python find --no-project 3.95" && {only} && echo {managed}\n')
    assert bench.problem("3.95") is None
    assert "no Python 3.96" in (bench.problem("3.96") or "")


def test_python_2_is_a_problem_without_a_remedy(bench: Bench) -> None:
    assert bench.problem("2.7") == "no Python 2.7 on this host, and environments are made for Python 3 only"


@pytest.mark.parametrize("wanted", ["../../bin/sh", "3.", "three", "3.1 -h", "--version", "3" * 50])
def test_a_version_that_is_none_is_not_looked_for(bench: Bench, wanted: str) -> None:
    assert not is_version(wanted)
    assert "is no version of Python" in (bench.problem(wanted) or "")


def test_a_python_that_is_gone_is_looked_for_anew(bench: Bench) -> None:
    images = bench.images
    path = bench.python("python3.95", "3.95.2")
    cargo = Cargo(venv=Venv("3.95"))
    problems = []
    for step in (lambda: None, path.unlink, lambda: bench.python("python3.95", "3.95.3")):
        step()
        facts = images.facts(IMAGE, cargo)
        assert facts is not None
        problems.append(facts.problem is None)
    assert problems == [True, False, True]


@pytest.mark.parametrize("uri", ["venv://other", "VENV://python", "venv://python/x", "file:///python"])
def test_there_is_one_uri_only(bench: Bench, uri: str) -> None:
    facts = bench.images.facts(Image(uri), Cargo(venv=Venv()))
    assert facts is not None
    assert facts.problem == "no such environment; there is venv://python"
    with pytest.raises(HostFault, match="no such environment"):
        bench.images.fetch(Image(uri), Cargo(venv=Venv()))


def test_a_job_that_brings_no_list_of_packages_gets_none(bench: Bench) -> None:
    facts = bench.images.facts(IMAGE)
    assert facts is not None
    assert "needs a list of packages" in (facts.problem or "")
    with pytest.raises(HostFault, match="needs a list of packages"):
        bench.images.fetch(IMAGE)


# --- making one -----------------------------------------------------------------------------------------------------


def test_requirements_are_installed_from_a_file_then_the_extra_ones(bench: Bench) -> None:
    bench.python("python3.95", "3.95.2")
    place = bench.fetch("six==1.17.0", "attrs", extra=("lxml",))
    assert (place / "bin/python").exists()
    told = [line for line in bench.installed.splitlines() if "=" not in line or "==" in line]
    assert [line for line in told if not line.startswith("-")] == ["six==1.17.0", "attrs", "lxml"]
    calls = [line for line in told if line.startswith("-I -m pip install")]
    assert len(calls) == 2
    assert all("six" not in call and "lxml" not in call for call in calls)


def test_without_packages_nothing_is_installed(bench: Bench) -> None:
    bench.python("python3.95", "3.95.2")
    assert (bench.fetch() / "bin/python").exists()
    assert bench.installed == ""


def test_equal_wishes_share_one_environment_and_others_do_not(bench: Bench) -> None:
    bench.python("python3.95", "3.95.2")
    first = bench.fetch("six", "pkg-resources==0.0.0")
    assert bench.fetch("six") == first
    others = {bench.fetch("attrs"), bench.fetch("six", extra=("attrs",)), bench.fetch("six", "attrs")}
    bench.python("python3.95", "3.95.3")
    others.add(bench.fetch("six"))
    assert len({first, *others}) == 5


def test_wanted_twice_at_once_it_is_made_once(bench: Bench) -> None:
    bench.python("python3.95", "3.95.2")
    images, cargo, start = bench.images, Cargo(venv=Venv("3.95", ("six",))), threading.Barrier(4)

    def fetch(_: int) -> Path:
        start.wait()
        return images.fetch(IMAGE, cargo)

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(fetch, range(4)))) == 1
    assert bench.installed.count("-I -m pip install") == 1


def test_the_environment_of_the_agent_stays_outside_but_for_what_an_installer_needs(bench: Bench) -> None:
    bench.python("python3.95", "3.95.2")
    bench.environ |= {"AWS_SECRET_ACCESS_KEY": "s3cret", "EDGE_AGENT_TOKEN": "s3cret", "PYTHONPATH": "/s3cret"}
    bench.environ |= {"PIP_TARGET": "/s3cret", "PIP_INDEX_URL": "https://index", "https_proxy": "http://proxy"}
    bench.fetch("six")
    assert "s3cret" not in bench.installed
    assert "PIP_INDEX_URL=https://index" in bench.installed
    assert "https_proxy=http://proxy" in bench.installed


def test_a_network_that_comes_back_is_tried_three_times(bench: Bench) -> None:
    bench.python("python3.95", "3.95.2")
    bench.fail(2, UNREACHABLE)
    bench.fetch("six")
    assert bench.installed.count("-I -m pip install") == 3


def test_a_network_that_stays_away_is_told_and_leaves_nothing(bench: Bench) -> None:
    bench.python("python3.95", "3.95.2")
    bench.fail(3, UNREACHABLE)
    with pytest.raises(StoreUnavailable, match=r"pip ended with status 1: .*Connection refused.* No matching"):
        bench.fetch("six")
    assert list((bench.folder / "cache/entries").iterdir()) == []
    assert bench.fetch("six").exists()


def test_a_package_that_is_not_there_is_tried_once_and_is_the_fault_of_the_job(bench: Bench) -> None:
    bench.python("python3.95", "3.95.2")
    bench.fail(1, "WARNING: old\nERROR: No matching distribution found for six==99\n\nnote: see above\n")
    with pytest.raises(JobFault, match=r"pip ended with status 1: ERROR: No matching distribution found for six==99$"):
        bench.fetch("six==99")
    assert bench.installed.count("-I -m pip install") == 1


def test_a_failure_without_a_reason_is_tried_once_more_for_its_log(bench: Bench) -> None:
    bench.python("python3.95", "3.95.2")
    bench.fail(2, SILENT, logged="10:00 Could not fetch URL https://x/six/: 404 Client Error: Not Found for url\n")
    with pytest.raises(JobFault, match="No matching distribution found for six"):
        bench.fetch("six")
    bench.fail(6, SILENT, logged="10:00 Could not fetch URL https://x/six/: 503 Server Error: Unavailable for url\n")
    with pytest.raises(StoreUnavailable, match="503 Server Error"):
        bench.fetch("six")
    assert bench.fetch("six").exists()


def test_a_line_that_is_no_package_runs_nothing(bench: Bench) -> None:
    bench.python("python3.95", "3.95.2")
    for lines in ({"requirements": ("-r /etc/passwd",)}, {"extra": ("--pre",)}):
        with pytest.raises(JobFault, match="is not allowed"):
            bench.images.fetch(IMAGE, Cargo(venv=Venv("3.95", **lines)))
    assert bench.installed == ""
    assert not (bench.folder / "cache").exists()


def test_a_python_that_makes_no_environment_is_told(bench: Bench) -> None:
    answer = json.dumps([str(bench.bin / "python3.95"), "3.95.2", "linux-x86_64", True, []])
    bench.program("python3.95", f"#!/bin/sh\n[ $2 = -c ] && echo '{answer}' && exit\necho broken >&2; exit 3\n")
    with pytest.raises(JobFault, match="pip ended with status 3: broken"):
        bench.fetch("six")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (UNREACHABLE, StoreUnavailable),
        (
            "error: Request failed after 3 retries\n  cause: error sending request for url (https://x/)",
            StoreUnavailable,
        ),
        (
            "error: Failed to fetch: `https://x/`\n  cause: HTTP status server error (503 Service Un) for",
            StoreUnavailable,
        ),
        ("ReadTimeoutError: HTTPSConnectionPool(host='x', port=443): Read timed out.", StoreUnavailable),
        ("fatal: unable to access 'https://x/': Could not resolve host: x", StoreUnavailable),
        ("ERROR: HTTP error 502 while getting https://x/six.whl", StoreUnavailable),
        (
            "Could not fetch URL https://x/simple/six/: 403 Client Error: Forbidden for url: https://x/",
            StoreUnavailable,
        ),
        ("Could not fetch URL https://x/503/six/: 404 Client Error: Not Found for url: https://x/", JobFault),
        ("ERROR: HTTP error 404 while getting https://x/six.whl", JobFault),
        ("ERROR: HTTP error 403 while getting https://x/500.whl", JobFault),
        ("ERROR: No matching distribution found for timeout-decorator==503", JobFault),
        ("ERROR: Failed building wheel for x", JobFault),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", HostFault),
        ("ERROR: Cannot find command 'git' - do you have 'git' installed and in your PATH?", HostFault),
        ("error: Git executable not found. Ensure that Git is installed and available.", HostFault),
    ],
)
def test_what_an_installer_says_tells_whose_fault_it_is(said: str, kind: type[EdgeAgentError]) -> None:
    for fault in (
        fault_of(Completed(1, "", said), "pip"),
        fault_of(Completed(1, said, ""), "pip"),
        fault_of(Completed(1, "", "ERROR: it failed"), "pip", log=said),
    ):
        assert type(fault) is kind
        assert "\n" not in str(fault)


def test_passwords_of_addresses_are_not_told() -> None:
    fault = fault_of(Completed(1, "", "ERROR: 404 for https://me:s3cret@index/simple"), "pip")
    assert "s3cret" not in str(fault)
    assert "@index/simple" in str(fault)


def test_only_the_end_of_a_long_story_is_told() -> None:
    said = "".join(f"line {number} {'x' * 50}\n" for number in range(1000)) + "ERROR: the end\n"
    words = str(fault_of(Completed(1, "", said), "pip"))
    assert words.endswith("ERROR: the end")
    assert len(words) < 1100
