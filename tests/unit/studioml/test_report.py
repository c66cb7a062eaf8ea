from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc_tools
import pytest
from agent.errors import Dropped
from agent.studioml import report
from agent.studioml.envelope import opened, seal
from agent.studioml.reading import NoKeys, Reading, Rules
from agent.studioml.report import Identity, Report, accession
from google.protobuf import json_format  # type: ignore[import-untyped]
from grpc_tools import protoc

from tests.studioml_keys import VECTORS, private_key

SAMPLES = VECTORS / "reports"
ABOUT = Identity("1530054412_70d7eaf4-3ce3-493a-a8f6-ffa0212a5c92", "edge-node-1-1wMtKp", "edge-node-1")
NOW = 1_795_347_111.25
MADE: dict[str, Report] = {
    "01_scanning": report.scanning("edge-node-1", NOW, "rmq_cpu_andrei_1"),
    "02_progress_started": report.started(ABOUT, NOW),
    "03_log_start": report.log(ABOUT, NOW, "Info", "start"),
    "04_stdout_line": report.log(ABOUT, NOW, "Info", "hello from the edge\n"),
    "05_stderr_line": report.log(ABOUT, NOW, "Error", "Traceback (most recent call last):"),
    "06_progress_json": report.progress(ABOUT, NOW, '{"experiment": {"loss": 0.5}}'),
    "07_log_stop_ok": report.log(ABOUT, NOW, "Info", "stop", {"success": "True"}),
    "08_log_stop_fail": report.log(ABOUT, NOW, "Info", "stop", {"error": "exit status 1", "success": "False"}),
    "09_progress_success": report.success(ABOUT, NOW),
    "10_progress_failed": report.failed(ABOUT, NOW, "exit status 1", 1),
}
# A state that this agent has no word for: what it reports runs already.
NOT_MADE = "11_prestart_state_omitted"


@pytest.fixture(scope="module")
def kind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The class `Report` that the protocol buffer compiler makes of what clients have."""
    folder = tmp_path_factory.mktemp("proto")
    known = Path(grpc_tools.__file__).parent / "_proto"
    arguments = ["protoc", f"-I{SAMPLES}", f"-I{known}", f"--python_out={folder}", "reports.proto"]
    assert protoc.main(arguments) == 0
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("reports_pb2").Report
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("reports_pb2", None)


def sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_bytes())


def sealed_sample(name: str) -> str:
    return (SAMPLES / f"{name}.sealed.txt").read_text()


class OwnerKeys(NoKeys):
    """Clients open reports as this agent opens requests, with a key of theirs."""

    def opening(self, queue: str) -> object | None:
        return private_key("report")


def read(text: str) -> Any:
    """What a client reads in a sealed report."""
    return json.loads(opened({"payload": text}, Reading(keys=OwnerKeys(), rules=Rules(require_signature=False))))


def at_the_time(value: Any, at: str) -> Any:
    """The report as if it had been made at another time."""
    if isinstance(value, dict):
        return {key: at if key == "time" else at_the_time(below, at) for key, below in value.items()}
    return value


def test_every_sample_is_known() -> None:
    assert {path.stem for path in SAMPLES.glob("*.json")} == {*MADE, NOT_MADE}


@pytest.mark.parametrize("name", MADE)
def test_reports_are_what_runners_have_always_sent(name: str) -> None:
    assert at_the_time(MADE[name], "2026-11-22T11:31:51.123456789Z") == sample(name)
    assert at_the_time(MADE[name], "2026-11-22T11:31:51.250000Z") == MADE[name]


@pytest.mark.parametrize("name", MADE)
def test_reports_are_read_by_what_the_compiler_makes_of_the_protocol(name: str, kind: Any) -> None:
    parsed = json_format.Parse(json.dumps(MADE[name]), kind())
    shown = json.loads(json_format.MessageToJson(parsed))
    # It shows times with the digits that they need.
    assert shown == at_the_time(MADE[name], "2026-11-22T11:31:51.250Z")
    assert kind.FromString(parsed.SerializeToString()) == parsed


@pytest.mark.parametrize("name", [*MADE, NOT_MADE])
def test_samples_that_others_have_sealed_open_and_are_read(name: str, kind: Any) -> None:
    content = read(sealed_sample(name))
    assert content == sample(name)
    assert json_format.ParseDict(content, kind()) == json_format.ParseDict(sample(name), kind())


@pytest.mark.parametrize("name", MADE)
def test_sealed_reports_open_with_the_key_of_their_reader_alone(name: str) -> None:
    text = seal(private_key("report").public_key(), json.dumps(MADE[name]).encode())
    assert read(text) == MADE[name]

    class Others(NoKeys):
        def opening(self, queue: str) -> object | None:
            return private_key("request")

    with pytest.raises(Dropped):
        opened({"payload": text}, Reading(keys=Others(), rules=Rules(require_signature=False)))


@pytest.mark.parametrize("code", [None, 0])
def test_a_failure_without_a_code_leaves_it_out(code: int | None, kind: Any) -> None:
    made = report.failed(ABOUT, NOW, "the lifetime was over", code)
    assert made["progress"]["error"] == {"msg": "the lifetime was over"}
    assert json_format.ParseDict(made, kind()).progress.error.code == 0


@pytest.mark.parametrize(("code", "shown"), [(-9, -9), (255, 255), (2**31 - 1, 2**31 - 1), (2**31, 0), (2**70, 0)])
def test_a_code_is_a_small_number(code: int, shown: int, kind: Any) -> None:
    assert json_format.ParseDict(report.failed(ABOUT, NOW, "why", code), kind()).progress.error.code == shown


def test_any_text_can_be_reported(kind: Any) -> None:
    about = Identity("key \ud800", "unique\udcff", "host")
    for text in ("", "half \ud800", "nul \0", "ü€😀", "a\nb", "x" * 300_000):
        for made in (
            report.log(about, NOW, "Info", text, {"reason": text}),
            report.progress(about, NOW, text),
            report.failed(about, NOW, text, 1),
            report.scanning("host", NOW, text),
        ):
            json_format.Parse(json.dumps(made), kind())


def test_the_name_of_an_attempt_is_its_host_and_its_second_in_base_62() -> None:
    assert accession("edge-node-1", 0) == "edge-node-1-0"
    assert accession("edge-node-1", 61.9) == "edge-node-1-z"
    assert accession("edge-node-1", 62) == "edge-node-1-10"
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    name = accession("a", NOW).removeprefix("a-")
    assert sum(digits.index(digit) * 62**place for place, digit in enumerate(reversed(name))) == int(NOW)


def test_names_of_later_attempts_are_sorted_behind_it() -> None:
    times = [1_000_000_000 + number * 1_234_567 for number in range(2000)]
    names = [accession("host", at) for at in times]
    assert names == sorted(names)
