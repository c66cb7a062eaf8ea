from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import click
import pytest
from agent import __version__
from agent.cli import COMMANDS, cli, main
from agent.cli.help import read_pages
from click.testing import CliRunner

JOB = b'{"api": "edge-agent/v1", "image": "file:///a.sif", "env": {"TOKEN": "hunter2", "A": "1"}}'


def _run(
    *arguments: str, stdin: bytes = b"", environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the real command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "agent", *arguments],
        input=stdin,
        capture_output=True,
        env={**os.environ, **(environ or {})},
        check=False,
        timeout=30,
    )


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(f'[agent]\nstate_dir = "{tmp_path}/state"\n')
    return file


# --- the frame --------------------------------------------------------------------------------------------


def test_the_version_is_printed_without_importing_more_than_the_frame() -> None:
    code = "import sys; from agent.cli import main; main(['--version']); print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, modules = done.stdout.splitlines()
    assert first == f"edge-agent {__version__}"
    assert not {"msgspec", "rich", "psutil", "logging", "sqlite3", "agent.config"} & set(modules.split())


def test_help_lists_every_command_with_its_line_and_imports_none() -> None:
    code = "import sys; from agent.cli import main; main(['--help']); print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *text, modules = done.stdout.splitlines()
    for name, entry in COMMANDS.items():
        assert any(re.fullmatch(rf"  {name} +{re.escape(entry.help)}", line) for line in text), name
    loaded = {name for name in modules.split() if name.startswith("agent.")}
    assert loaded == {"agent.cli", "agent.errors"}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_in_the_table_is_there_under_its_name(name: str) -> None:
    module, _, function = COMMANDS[name].target.partition(":")
    command = getattr(import_module(module), function)
    assert isinstance(command, click.Command)
    assert command.name == name


def test_an_unknown_command_is_answered_with_the_nearest_one() -> None:
    done = _run("stauts")
    assert done.returncode == 2
    assert b'no command "stauts" (did you mean "status"?)' in done.stderr


def test_an_unknown_option_is_wrong_use() -> None:
    assert _run("version", "--nosuch").returncode == 2


def test_an_error_is_one_line_with_its_exit_code_and_without_secrets(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[[queues]]\nname = "a"\nurl = "kafka://me:hunter2@host/b"\n')
    done = _run("--config", str(file), "config", "show")
    assert done.returncode == 2
    assert done.stderr.decode().splitlines() == [
        f'edge-agent: {file}:3: queues[0].url = "kafka://***@host/b": scheme "kafka" is not known '
        "(known: file, s3, a queue's pubsub, or a plain absolute path)"
    ]


def test_global_flags_are_the_strongest_layer(config_file: Path, tmp_path: Path) -> None:
    arguments = ("--config", str(config_file), "--state-dir", str(tmp_path / "other"), "--log-level", "debug")
    shown = json.loads(_run(*arguments, "config", "show", "--json").stdout)
    assert shown["agent.state_dir"] == {"value": str(tmp_path / "other"), "origin": "--state-dir"}
    assert shown["agent.log_level"] == {"value": "debug", "origin": "--log-level"}
    done = _run("--log-level", "loud", "config", "check")
    assert done.returncode == 2
    assert done.stderr.startswith(b"edge-agent: --log-level: agent.log_level = 'loud': ")


def test_a_reader_that_goes_away_ends_the_command_quietly(config_file: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "agent", "--config", str(config_file), "config", "show", "--json"],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_an_interrupt_ends_the_command_quietly_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(cli), "get_command", lambda *_: interrupted)
    assert main(["version"]) == 130


# --- version, help ----------------------------------------------------------------------------------------


def test_version_says_what_matters(config_file: Path) -> None:
    facts = json.loads(_run("--config", str(config_file), "version", "--json").stdout)
    assert set(facts) == {"agent", "python", "platform", "runtime"}
    assert facts["agent"] == __version__


def test_version_is_told_even_with_a_broken_configuration(tmp_path: Path) -> None:
    done = _run("--config", str(tmp_path / "gone"), "version", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["agent"] == __version__
    assert b"gone: cannot be read" in done.stderr


def test_help_lists_the_topics_and_shows_their_pages() -> None:
    pages = read_pages()
    assert {"configuration", "jobs"} <= set(pages)
    listed = _run("help").stdout.decode()
    for topic, text in pages.items():
        assert re.search(rf"(?m)^{topic} +{re.escape(text.splitlines()[0].lstrip('# '))}$", listed)
    assert _run("help", "jobs").stdout.decode() == pages["jobs"]
    assert json.loads(_run("help", "jobs", "--json").stdout) == {"topic": "jobs", "text": pages["jobs"]}


def test_help_about_an_unknown_topic_names_the_nearest() -> None:
    done = _run("help", "job")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b'no page about "job" (did you mean "jobs"?)' in done.stderr
    assert _run("help", "../errors").returncode == 2


# --- config -----------------------------------------------------------------------------------------------


def test_config_check_says_ok_and_warns_of_what_will_not_work(tmp_path: Path) -> None:
    file, blocked = tmp_path / "c.toml", tmp_path / "file"
    blocked.write_text("")
    file.write_text(
        f'[agent]\nstate_dir = "{blocked}/state"\n[runtime]\npath = "{tmp_path}/gone"\n'
        f'[policy]\nimage_prefixes = ["s3://lab/"]\n'
        f'[policy.secrets]\nA = {{file = "{tmp_path}/gone"}}\nB = {{env = "NOT_SET_HERE"}}\n'
        f'[[queues]]\nname = "q"\nurl = "{tmp_path}"\n'
    )
    done = _run("--config", str(file), "config", "check")
    assert (done.returncode, done.stdout) == (0, b"ok\n")
    assert done.stderr.decode().splitlines() == [
        f'edge-agent: warning: agent.state_dir: "{blocked}" is not a directory',
        f'edge-agent: warning: runtime.path = "{tmp_path}/gone" is no program that this user may run',
        f'edge-agent: warning: policy.secrets.A: the file "{tmp_path}/gone" cannot be read by this user',
        'edge-agent: warning: policy.secrets.B: the variable "NOT_SET_HERE" is not set here',
    ]


def test_config_check_refuses_with_2_in_both_forms(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[agent]\nidd = 'x'\n")
    message = f'{file}:2: unknown key "agent.idd" (did you mean "id"?)'
    done = _run("--config", str(file), "config", "check")
    assert (done.returncode, done.stdout, done.stderr.decode()) == (2, b"", f"edge-agent: {message}\n")
    done = _run("--config", str(file), "config", "check", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout) == {"ok": False, "error": message, "warnings": []}


def test_config_show_prints_every_key_with_value_and_origin(config_file: Path) -> None:
    done = _run("--config", str(config_file), "config", "show", environ={"EDGE_AGENT_RETRY__FIRST": "5s"})
    lines = {line.split()[0]: line.split()[1:] for line in done.stdout.decode().splitlines()}
    assert lines["agent.state_dir"] == [f"{config_file.parent}/state", f"{config_file}:2"]
    assert lines["retry.first"] == ["5.0", "s", "EDGE_AGENT_RETRY__FIRST"]
    assert lines["resources.disk_reserve"] == ["1", "GiB", "default"]
    assert lines["agent.id"] == ["-", "default"]


def test_config_check_says_what_experiments_of_studioml_clients_will_lack(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    queue = '[[queues]]\nname = "exp"\nurl = "pubsub://lab-1/exp_sub?plain"\nresults = "s3://lab/results"\n'
    file.write_text(queue)
    lines = _run("--config", str(file), "--state-dir", str(tmp_path), "config", "check").stderr.decode().splitlines()
    assert [line.split(":")[2].split()[0] for line in lines] == ["policy.brought_prefixes", "policy.image_prefixes"]
    file.write_text(f'{queue}[policy]\nbrought_prefixes = ["s3+http://minio/"]\n')
    assert _run("--config", str(file), "--state-dir", str(tmp_path), "config", "check").stderr == b""


def test_config_check_says_what_the_policy_refuses_whatever_comes(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        f'[[queues]]\nname = "lab"\nurl = "{tmp_path}/lab"\n[policy]\nrequire_signed = true\nimage_prefixes = []\n'
        '[policy.secrets]\nKEY = {credential = "gone"}\n'
    )
    where = ("--config", str(file), "--state-dir", str(tmp_path), "config", "check")
    said = _run(*where, environ={"CREDENTIALS_DIRECTORY": str(tmp_path)}).stderr.decode()
    assert "policy.require_signed is true and policy.signers is empty: every native job becomes a dead letter" in said
    assert "policy.image_prefixes is empty: an agent here refuses every job for its image" in said
    assert f'put images into "{tmp_path}/images"' in said
    assert '[policy] image_prefixes = ["file:///srv/images/"]' in said
    assert f'policy.secrets.KEY: the credential "{tmp_path}/gone" cannot be read by this user' in said
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.sif").touch()
    file.write_text(f'[policy.signers]\nalice = {{file = "{tmp_path}/alice.pub"}}\n')
    said = _run(*where).stderr.decode()
    assert f'policy.signers.alice: the file "{tmp_path}/alice.pub" cannot be read by this user' in said
    assert said.count("warning") == 1


def test_config_check_says_where_keys_of_images_are_missing(tmp_path: Path) -> None:
    file, keys = tmp_path / "config.toml", tmp_path / "keys"
    file.write_text(f'[images]\nsignatures = "require"\nkeys_dir = "{keys}"\n[policy]\nimage_prefixes = ["s3://a/"]\n')
    where = ("--config", str(file), "--state-dir", str(tmp_path), "config", "check")
    assert f'images.keys_dir: the directory "{keys}" cannot be read by this user' in _run(*where).stderr.decode()
    keys.mkdir()
    assert f'images.keys_dir: the directory "{keys}" has no keys, NAME.pem or NAME.asc' in _run(*where).stderr.decode()
    (keys / "lab.pem").touch()
    assert _run(*where).stderr == b""


# --- decode -----------------------------------------------------------------------------------------------


def test_decode_shows_the_job_of_a_message_with_secrets_masked(config_file: Path) -> None:
    done = _run("decode", "-", "--json", stdin=JOB)
    assert done.returncode == 0
    job = json.loads(JOB)
    assert json.loads(done.stdout) == {
        "disposition": "run",
        "reason": None,
        "form": "native",
        "job": {**job, "env": {**job["env"], "TOKEN": "***"}},
    }


def test_decode_for_people_masks_secrets(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_bytes(JOB)
    done = _run("decode", str(tmp_path / "m.json"))
    assert done.stdout.decode().splitlines()[0] == "run: a native job"
    assert b"env.TOKEN  ***" in done.stdout
    assert b"hunter2" not in done.stdout


def test_decode_of_a_broken_message_says_why_and_exits_with_1() -> None:
    done = _run("decode", "-", stdin=b'{"api": "edge-agent/v1"}')
    assert done.returncode == 1
    assert done.stdout.startswith(b"dead-letter: ")
    done = _run("decode", "-", stdin=b"{}")
    assert done.returncode == 1
    assert done.stdout.startswith(b'drop: no "api" key: not a native job')
    done = _run("decode", "-", "--json", stdin=b"\xff")
    assert done.returncode == 1
    assert json.loads(done.stdout)["disposition"] == "drop"


def test_decode_says_whether_the_queue_keeps_what_nobody_can_read(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    plain = '[[queues]]\nname = "plain"\nurl = "pubsub://lab-1/exp_sub?plain"\n'
    lanes = '[[queues]]\nname = "lanes"\nurl = "pubsub://lab-1/jobs"\nresults = "/srv/results"\n'
    file.write_text(plain + lanes)
    arguments = ("--config", str(file), "decode", "-", "--queue")
    for queue, word in {"plain": b"drop: ", "lanes": b"dead-letter: "}.items():
        assert _run(*arguments, queue, stdin=b"{}").stdout.startswith(word)
    broken = b'{"experiment": {"key": "a"}}'
    assert _run(*arguments, "lanes", stdin=broken).stdout.startswith(b"drop: ")


def test_decode_for_a_queue_needs_that_queue(config_file: Path) -> None:
    arguments = ("--config", str(config_file), "decode", "-", "--queue")
    assert _run(*arguments, "default", stdin=JOB).returncode == 0
    done = _run(*arguments, "defualt", stdin=JOB)
    assert done.returncode == 2
    assert b'no queue "defualt" is configured (did you mean "default"?)' in done.stderr


def test_decode_of_a_file_that_is_not_there_is_wrong_use() -> None:
    assert CliRunner().invoke(cli, ["decode", "/nonexistent"]).exit_code == 2
