"""What the everyday commands import: boards have little memory, so nothing heavy is loaded before it is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from agent.board import Mode
from agent.control.protocol import Snapshot
from agent.control.server import Server
from agent.model.share import Share

DRIVER = """
import json, sys
from pathlib import Path
from agent.cli import main
code = main(sys.argv[2:])
Path(sys.argv[1]).write_text(json.dumps({"code": code, "modules": sorted(sys.modules)}))
"""
CLIENTS = {"google", "grpc", "minio", "paho", "prometheus_client", "pynvml", "urllib3"}
HEAVY = {"asyncio", "concurrent.futures.process", "cryptography", "http.client", "multiprocessing", "rich", "ssl"}
SHARE = {"EDGE_AGENT_RESOURCES__CPUS": "1", "EDGE_AGENT_RESOURCES__MEMORY": "64MiB"}
SNAPSHOT = Snapshot("1", "host-a", 1, Mode("ready"), Share(), Share(), (), (), (), ())


def imported(folder: Path, *words: str, code: int = 0) -> set[str]:
    """Return the modules that are loaded when the command has ended, which it must with this exit code."""
    report = folder / "modules.json"
    argv = [sys.executable, "-c", DRIVER, str(report), "--state-dir", str(folder / "state"), *words]
    done = subprocess.run(argv, env={**os.environ, **SHARE}, capture_output=True, text=True, timeout=60, check=False)
    assert report.exists(), done.stderr
    told = json.loads(report.read_text())
    assert told["code"] == code, done.stdout + done.stderr
    return set(told["modules"])


def third_party(modules: set[str]) -> set[str]:
    """Return the packages among them that are neither ours nor Python's own."""
    tops = {name.partition(".")[0] for name in modules}
    # _distutils_hack and editable finders come with the virtual environment, not with an import of ours.
    return {name for name in tops - sys.stdlib_module_names if not name.startswith("_")} - {"agent"}


def found_among(modules: set[str], unwanted: set[str]) -> list[str]:
    return sorted(name for name in unwanted if name in modules)


def assert_light(modules: set[str], allowed: set[str], unwanted: set[str]) -> None:
    found = found_among(modules, unwanted)
    assert not found, f"loaded before they are needed: {', '.join(found)}"
    assert third_party(modules) <= allowed, f"new packages are loaded: {sorted(third_party(modules) - allowed)}"


EVERYDAY = {"click", "msgspec", "psutil", "tomli", "typing_extensions"}


def test_probe_loads_no_client_no_database_and_no_tables(tmp_path: Path) -> None:
    assert_light(imported(tmp_path, "probe", "--json"), EVERYDAY, CLIENTS | HEAVY | {"sqlite3"})


def test_status_of_a_running_agent_loads_no_client_no_database_and_no_tables(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    server = Server(tmp_path / "state", lambda command: (SNAPSHOT,))
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        modules = imported(tmp_path, "status", "--json")
    finally:
        server.close()
        thread.join(10)
    assert_light(modules, EVERYDAY, CLIENTS | HEAVY | {"sqlite3"})


def test_an_agent_with_a_queue_in_a_directory_loads_no_client(tmp_path: Path) -> None:
    modules = imported(tmp_path, "run", "--until-empty")
    assert_light(modules, EVERYDAY, CLIENTS | HEAVY)
    assert "sqlite3" in modules  # the journal


def test_the_version_loads_next_to_nothing(tmp_path: Path) -> None:
    modules = imported(tmp_path, "--version")
    # Up to Python 3.10 its own module platform, which click needs, loads subprocess.
    ours = {"subprocess"} if sys.version_info >= (3, 11) else set()
    assert_light(modules, {"click", "typing_extensions"}, CLIENTS | HEAVY | {"sqlite3", "msgspec"} | ours)


@pytest.mark.parametrize("name", ["minio", "paho.mqtt.client", "rich.table", "sqlite3"])
def test_a_heavy_import_would_be_noticed(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.DRIVER", f"import {name}\n{DRIVER}")
    with pytest.raises(AssertionError, match=name.partition(".")[0]):
        assert_light(imported(tmp_path, "--version"), EVERYDAY, CLIENTS | HEAVY | {"sqlite3"})
