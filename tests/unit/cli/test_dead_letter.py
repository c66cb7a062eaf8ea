"""`edge-agent dead-letter` on a queue in a directory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent.adapters.clock import SystemClock
from agent.cli import cli
from agent.cli.stores import client
from agent.client import Client
from agent.config import Config, load_config
from agent.deadletters import StoreDeadLetters
from agent.model.job import parse_job
from agent.ports import Delivery
from agent.pubsub_plan import attributes_of
from agent.wire import encode
from agent.wiring import Stores
from click.testing import CliRunner, Result

JOB = parse_job({"image": "file:///a.sif", "name": "train", "env": {"API_TOKEN": "hunter2"}})
Run = Callable[..., Result]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    file = tmp_path / "config.toml"
    file.write_text(f'[agent]\nstate_dir = "{tmp_path}/state"\n')
    return load_config(file, {}, {}).config


@pytest.fixture
def lab(config: Config) -> Client:
    """A queue with three dead letters: a job that no host could set up, a text, and bytes."""
    letters = StoreDeadLetters(Stores(config).records(config.queues[0]), SystemClock())
    for sid, body, reason in (
        ("job-1", encode(JOB), "image: no such image"),
        ("text-1", b"token=hunter2 no job", "not JSON"),
        ("bytes-1", b"\xff\x00", "not UTF-8"),
    ):
        letters.bury(Delivery("default", sid, body, attributes_of("any-none"), "handle", 0.0), reason, "host-a")
    return client(config, config.queues[0])


@pytest.fixture
def run(tmp_path: Path, lab: Client) -> Run:
    return lambda *words: CliRunner().invoke(cli, ["--config", str(tmp_path / "config.toml"), "dead-letter", *words])


def listed(run: Run, *words: str) -> list[dict[str, Any]]:
    done = run("list", "--json", *words)
    assert done.exit_code == 0, done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return sorted(found, key=lambda each: str(each["letter"]))


def waiting(lab: Client) -> list[str]:
    return [view.sid for view in lab.jobs() if view.state == "waiting"]


def test_the_list_says_reason_host_and_size_and_takes_nothing_away(run: Run) -> None:
    for _ in range(2):
        found = [(each["letter"], each["reason"], each["host"], each["size"]) for each in listed(run)]
        assert found == [
            ("bytes-1", "not UTF-8", "host-a", 2),
            ("job-1", "image: no such image", "host-a", len(encode(JOB))),
            ("text-1", "not JSON", "host-a", 20),
        ]
    assert "text-1   default  host-a" in run("list").stdout
    assert [each["letter"] for each in listed(run, "--reason", "image")] == ["job-1"]


@pytest.mark.parametrize(
    ("letter", "form", "unreadable"), [("job-1", "json", False), ("text-1", "text", True), ("bytes-1", "hex", True)]
)
def test_a_message_is_shown_without_secrets_and_with_what_is_wrong_with_it(
    run: Run, letter: str, form: str, unreadable: bool
) -> None:
    shown = json.loads(run("show", letter, "--json").stdout)
    assert shown["form"] == form
    assert (shown["unreadable"] is not None) == unreadable
    for output in (shown["body"], run("show", letter).stdout):
        assert "hunter2" not in output
    assert shown["attributes"] == {"edge_arch": "any", "edge_accel": "none"}


def test_a_job_is_put_back_under_a_new_id_and_the_old_one_says_so(run: Run, lab: Client) -> None:
    done = run("requeue", "job-1")
    assert (done.exit_code, done.stdout) == (0, "job-1 requeued as job-1+1\n")
    assert waiting(lab) == ["job-1+1"]
    assert lab.job("job-1+1") == JOB
    view = lab.find("job-1")
    assert (view.state, view.reason) == ("dead", "requeued as job-1+1; image: no such image")
    assert [each["letter"] for each in listed(run)] == ["bytes-1", "text-1"]


def test_what_cannot_be_read_is_put_back_only_as_it_is(run: Run, lab: Client) -> None:
    done = run("requeue", "text-1")
    assert done.exit_code == 1
    assert "text-1 cannot be read: not JSON" in done.stderr
    assert "--as-is" in done.stderr
    assert waiting(lab) == []
    assert run("requeue", "text-1", "--as-is").exit_code == 0
    assert waiting(lab) == ["text-1+1"]


def test_all_are_put_back_but_those_that_cannot_be_read(run: Run, lab: Client) -> None:
    done = run("requeue", "--all", "--json")
    assert done.exit_code == 1
    told = {each["letter"]: each["job"] for each in json.loads(done.stdout)["done"]}
    assert told == {"job-1": "job-1+1", "text-1": None, "bytes-1": None}
    assert waiting(lab) == ["job-1+1"]


def test_letters_are_dropped_by_their_reason(run: Run, lab: Client) -> None:
    assert run("drop", "--reason", "not ").exit_code == 0
    assert [each["letter"] for each in listed(run)] == ["job-1"]
    assert lab.find("text-1").reason == "dropped; not JSON"
    assert waiting(lab) == []


@pytest.mark.parametrize("words", [(), ("job-1", "--all"), ("--all", "--reason", "x")], ids=str)
def test_which_letters_are_meant_must_be_said_once(run: Run, words: tuple[str, ...]) -> None:
    for command in ("requeue", "drop"):
        done = run(command, *words)
        assert "which dead letters?" in str(done.exception)
    assert len(listed(run)) == 3


@pytest.mark.parametrize("command", ["requeue", "drop"])
def test_a_letter_that_is_not_there_is_named_and_the_others_are_done(run: Run, command: str) -> None:
    done = run(command, "job-1", "nosuch")
    assert done.exit_code == 1
    assert 'no dead letter "nosuch"' in done.stderr
    assert [each["letter"] for each in listed(run)] == ["bytes-1", "text-1"]
