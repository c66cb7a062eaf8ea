"""Every command as people and scripts call it: text and JSON, exit codes, one line for what went wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from agent import __version__

from tests.e2e.site import COMMAND, TIMEOUT, Site, to_toml
from tests.waiting import wait_until

MIB = 1024**2
UNTIL_TOLD = "echo first; while [ ! -e go ]; do sleep 0.05; done; echo last; echo done > out"


def tell(site: Site, sid: str, n: int = 1) -> None:
    """Let a job with the script above end."""
    (site.directory(sid, n) / "work" / "go").touch()


def parsed(site: Site, *arguments: str, **options: Any) -> Any:
    return json.loads(site.call(*arguments, **options))


@contextmanager
def background(site: Site, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command that runs during the block."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    with subprocess.Popen(site.argv(*arguments), text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


# --- a job, from outside ----------------------------------------------------------------------------------------------


def test_a_job_is_seen_by_all_commands_while_it_runs_and_after(site: Site, tmp_path: Path) -> None:
    sid = site.submit(UNTIL_TOLD, name="slow")
    with site.agent() as agent:
        site.wait_printed(sid, "first")
        _assert_status_while_running(site, sid, agent.pid)
        assert site.log_of("slow") == "first\n"
        nothing_yet = site.run("results", sid)
        assert (nothing_yet.returncode, nothing_yet.stderr) == (1, "")
        with background(site, "logs", "-f", sid) as following:
            assert following.stdout is not None
            assert following.stdout.readline() == "first\n"
            tell(site, sid)
            assert following.stdout.read() == "last\n"
            assert following.wait(TIMEOUT) == 0
        site.wait_state(sid, "succeeded")
        wait_until(lambda: parsed(site, "status", "--json")["ended"], 15, "the agent is done with the job")
        assert "ended since the start: 1 succeeded; " in site.call("status")
        totals = parsed(site, "status", "--json")["totals"]
        assert (totals["jobs_total"], totals["cpu_seconds_total"] > 0.01) == ({"succeeded": 1}, True)
        assert totals["bytes_out_total"] == len("first\nlast\n") + len("done\n")
    _assert_seen_after(site, sid, tmp_path)
    _assert_use_is_told(site, sid)


def _assert_status_while_running(site: Site, sid: str, pid: int) -> None:
    text = site.call("status")
    assert text.startswith(f"agent {__version__} on host-a (process {pid})\nready, for ")
    assert f"{sid}  slow  started (run)" in text
    snapshot = parsed(site, "status", "--json")
    assert (snapshot["pid"], snapshot["mode"]["name"]) == (pid, "ready")
    assert [(each["sid"], each["state"]) for each in snapshot["attempts"]] == [(sid, "started")]
    assert snapshot["free"]["cpus"] == 1.5
    (listed,) = parsed(site, "jobs", "--json")
    assert (listed["sid"], listed["state"], listed["host"]) == (sid, "started", "host-a")
    assert site.view("slow")["state"] == "started"


def _assert_use_is_told(site: Site, sid: str) -> None:
    used = parsed(site, "status", sid, "--json")["usage"]
    assert used["cpu_s"] > 0.01
    assert used["wall_s"] > 0.01
    assert MIB < used["peak_memory_bytes"] < 1024 * MIB
    assert (used["bytes_in"], used["bytes_out"], used["ended_by"]) == (0, 16, "itself")
    line = site.call("status", sid).splitlines()[2]
    assert line.startswith("used: ")
    assert line.endswith(" of memory; 0 B fetched, 16 B stored; ended by itself")


def _assert_seen_after(site: Site, sid: str, tmp_path: Path) -> None:
    header, row = site.call("jobs").splitlines()
    assert header.split() == ["job", "name", "state", "tries", "host", "time", "why"]
    assert row.split()[:5] == [sid, "slow", "succeeded", "1", "host-a"]
    assert site.call("status", sid[:-3]).splitlines()[1].split()[0] == sid
    assert site.log_of(sid) == "first\nlast\n"
    assert site.call("logs", "-f", sid) == "first\nlast\n"
    listed = site.call("results", sid).splitlines()
    assert [line.split()[0] for line in listed] == [sid, "name", "log", "outputs/out"]
    fetched = parsed(site, "results", sid, "--json", "--to", str(tmp_path / "here"))
    assert fetched["paths"] == [str(tmp_path / "here/log"), str(tmp_path / "here/out")]
    assert (tmp_path / "here/out").read_text() == "done\n"
    over = site.run("cancel", sid)
    assert (over.returncode, over.stderr) == (1, f"edge-agent: job {sid} is over already\n")


def test_submit_waits_shows_the_log_and_answers_with_the_jobs_end(site: Site) -> None:
    good, bad = (to_toml(site.job(script, name="j")) for script in ("echo said", "echo sorry; exit 3"))
    with site.agent():
        ok = site.run("submit", "-", "--wait", input=good)
        assert (ok.returncode, ok.stdout) == (0, "said\n")
        assert ok.stderr.splitlines()[-1].endswith("  succeeded on host-a")
        failed = site.run("submit", "-", "--wait", "--json", input=bad)
    assert failed.returncode == 1
    assert (json.loads(failed.stdout)["state"], json.loads(failed.stdout)["exit_code"]) == ("failed", 3)


def test_prune_removes_what_is_over_with_all_that_it_left(site: Site) -> None:
    over, waiting = site.submit(), site.submit(requires={"cpus": 1000})
    site.until_empty()
    young = parsed(site, "prune", "--older-than", "1d", "--json")
    assert (young["removed"], young["jobs"]) == (True, [])
    shown = parsed(site, "prune", "--older-than", "0s", "--dry-run", "--json")
    assert [(each["sid"], each["state"]) for each in shown["jobs"]] == [(over, "succeeded")]
    assert site.output(over) == "done\n"
    assert over in site.call("prune", "--older-than", "0s")
    assert [job["sid"] for job in parsed(site, "jobs", "--json")] == [waiting]
    assert [path for path in site.queue.rglob("*") if over in path.name] == []


def test_results_that_cannot_be_written_are_an_error_of_use(site: Site) -> None:
    sid = site.submit()
    site.until_empty()
    for place in ("/proc/here", "/dev/null/here"):
        done = site.run("results", sid, "--to", place)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert done.stderr.startswith(f"edge-agent: {place}: ")
        assert "choose another directory with --to" in done.stderr


def test_with_several_queues_submit_wants_to_know_which(site: Site) -> None:
    with site.config.open("a") as config:
        config.write(f'[[queues]]\nname = "other"\nurl = "{site.queue}-other"\n')
    done = site.run("submit", "-", input=to_toml(site.job("true")))
    assert done.returncode == 2
    assert done.stderr == "edge-agent: several queues are configured (work, other) (say which one with --queue NAME)\n"
    site.call("queue", "init")
    assert (
        parsed(site, "submit", "-", "--json", "--queue", "other", input=to_toml(site.job("true")))["queue"] == "other"
    )


def test_cancel_answers_in_json(site: Site) -> None:
    sid = site.submit()
    assert parsed(site, "cancel", sid, "--json") == {"sid": sid, "cancelled": True}


def test_a_job_that_is_not_there_or_not_the_only_one_is_named(site: Site) -> None:
    twins = ", ".join(sorted([site.submit(name="twin"), site.submit(name="twin")]))
    for command in ("status", "logs", "results", "cancel", "explain"):
        unknown = site.run(command, "nobody")
        assert unknown.returncode == 1
        assert unknown.stderr == 'edge-agent: no job "nobody"; `edge-agent jobs` lists them\n'
        twice = site.run(command, "twin")
        assert twice.returncode == 1
        assert twice.stderr == f'edge-agent: "twin" means several jobs: {twins}\n'


def test_no_name_means_no_job(site: Site) -> None:
    site.submit()
    assert site.run("status", "").returncode == 1


def test_a_log_that_is_not_there_yet_is_an_error(site: Site) -> None:
    sid = site.submit()
    done = site.run("logs", sid)
    assert (done.returncode, done.stderr) == (1, f"edge-agent: no log of job {sid} is saved yet\n")


# --- the agent's mode -------------------------------------------------------------------------------------------------


def test_a_paused_agent_stays_paused_over_a_restart_until_it_is_resumed(site: Site) -> None:
    with site.agent():
        assert site.call("pause", "--note", "new fan") == "paused; 0 job(s) here\n"
    sid = site.submit()
    with site.agent():
        assert re.match(r"paused: new fan, by \S+, for ", site.call("status").splitlines()[1])
        assert site.call("drain") == "draining; 0 job(s) here\n"
    site.until_empty()
    assert site.state_of(sid) == "waiting"
    with site.agent():
        assert parsed(site, "status", "--json")["mode"]["name"] == "draining"
        assert parsed(site, "resume", "--json")["mode"]["name"] == "ready"
        site.wait_state(sid, "succeeded")


def test_drain_waits_for_the_last_job(site: Site) -> None:
    sid = site.submit(UNTIL_TOLD)
    with site.agent():
        site.wait_printed(sid, "first")
        with background(site, "drain", "--wait", "--json") as draining:
            wait_until(lambda: parsed(site, "status", "--json")["mode"]["name"] == "draining", 15, "it drains")
            later = site.submit()
            assert draining.poll() is None
            tell(site, sid)
            assert draining.stdout is not None
            assert json.loads(draining.stdout.read())["jobs"] == []
            assert draining.wait(TIMEOUT) == 0
        assert (site.state_of(sid), site.state_of(later)) == ("succeeded", "waiting")


@pytest.mark.parametrize("command", ["status", "pause", "drain", "resume"])
def test_where_no_agent_runs_the_command_says_how_to_start_one(site: Site, command: str) -> None:
    site.state.mkdir(exist_ok=True)
    done = site.run(command)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"edge-agent: no agent answers in {site.state} (none runs there); start one: edge-agent run\n"


# --- without an agent -------------------------------------------------------------------------------------------------


def test_explain_says_for_files_and_submitted_jobs_what_fits_and_what_not(site: Site, tmp_path: Path) -> None:
    good, huge = tmp_path / "good.toml", tmp_path / "huge.toml"
    good.write_text(to_toml(site.job("true")))
    huge.write_text(to_toml(site.job("true", requires={"memory": "900GiB", "where": ["cpu.arch = s390x"]})))
    assert site.call("explain", str(good)).splitlines()[-1].startswith("The job ")
    no = site.run("explain", str(huge))
    assert (no.returncode, no.stderr) == (1, "")
    assert [line.split()[0] for line in no.stdout.splitlines()].count("NO") == 2
    answer = json.loads(site.run("explain", "--json", str(huge)).stdout)
    assert answer["standing"] == "refused-here"
    assert {row["reason"] for row in answer["requirements"] if not row["ok"]} == {"memory", "constraint"}
    assert parsed(site, "explain", "--json", site.submit())["standing"] == "accepted"
    missing = site.run("explain", str(tmp_path / "none.toml"))
    assert (missing.returncode, len(missing.stderr.splitlines())) == (2, 1)
    assert f"{tmp_path}/none.toml: job file cannot be read" in missing.stderr


def test_decode_shows_what_becomes_of_a_message(site: Site, tmp_path: Path) -> None:
    message = tmp_path / "message.json"
    message.write_text(json.dumps(site.job("true", name="seen")))
    assert site.call("decode", str(message)).startswith("run: a native job\n")
    answer = parsed(site, "decode", "--json", "--queue", "work", str(message))
    assert (answer["disposition"], answer["form"], answer["job"]["name"]) == ("run", "native", "seen")
    broken = site.run("decode", "-", "--json", "--queue", "work", input="{}")
    assert broken.returncode == 1
    assert json.loads(broken.stdout)["disposition"] == "dead-letter"
    unknown = site.run("decode", "--queue", "wrok", str(message))
    assert (unknown.returncode, unknown.stderr.count("\n")) == (2, 1)
    assert 'did you mean "work"?' in unknown.stderr


def test_config_is_checked_and_shown_with_the_origin_of_each_value(site: Site) -> None:
    assert site.call("config", "check") == "ok\n"
    shown = parsed(site, "config", "show", "--json")
    assert shown["agent.id"]["value"] == "host-a"
    assert shown["agent.id"]["origin"].startswith(str(site.config))
    assert shown["policy.network_host"]["origin"] == "default"
    flag = site.call("--log-level", "debug", "config", "show")
    assert any(line.split()[:2] == ["agent.log_level", "debug"] for line in flag.splitlines())
    lines = site.config.read_text().splitlines()
    site.config.write_text("\n".join([*lines, "[policy]", 'max_timout = "1h"']))
    done = site.run("config", "check")
    assert done.returncode == 2
    assert f"{site.config}:{len(lines) + 2}: " in done.stderr
    assert 'did you mean "max_timeout"?' in done.stderr
    assert json.loads(site.run("config", "check", "--json").stdout)["ok"] is False
    assert site.run("run").returncode == 2


def test_queue_init_makes_the_stores_and_may_be_repeated(site: Site) -> None:
    records, results = site.queue / "queue", site.queue / "results"
    assert site.call("queue", "init") == f"work: jobs in {records}, results in {results}\n"
    made = [{"queue": "work", "records": str(records), "results": str(results)}]
    assert parsed(site, "queue", "init", "work", "--json") == made
    assert site.run("queue", "init", "play").returncode == 2


def test_a_queue_that_was_not_made_is_named_with_a_remedy(site: Site) -> None:
    site.config.write_text(site.config.read_text().replace(str(site.queue), f"{site.queue}-none"))
    for command in ("jobs", "submit"):
        done = site.run(*([command, "-"] if command == "submit" else [command]), input=to_toml(site.job("true")))
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
        assert f"{site.queue}-none" in done.stderr


def test_the_probe_prints_every_part(site: Site) -> None:
    profile = parsed(site, "probe", "--json")
    parts = "schema host cpu memory cuda gpus jetson accelerators runtime storage health labels problems"
    assert list(profile) == parts.split()
    assert (profile["schema"], profile["host"]["id"]) == ("edge-agent/capabilities/v1", "host-a")
    text = site.call("probe")
    assert any(line.split() == ["cpu.arch", profile["cpu"]["arch"]] for line in text.splitlines())


def test_version_and_help(site: Site) -> None:
    assert site.call("--version") == f"edge-agent {__version__}\n"
    assert parsed(site, "version", "--json")["agent"] == __version__
    assert __version__ in site.call("version")
    assert "jobs" in parsed(site, "help", "--json")
    assert site.call("help", "jobs").startswith("# Jobs")
    wrong = site.run("help", "jbos")
    assert (wrong.returncode, wrong.stderr) == (2, 'edge-agent: no page about "jbos" (did you mean "jobs"?)\n')
    assert site.run("sbumit").returncode == 2


@pytest.mark.parametrize("arguments", [("probe",), ("jobs", "--json"), ("help", "jobs"), ("config", "show")])
def test_a_reader_that_goes_away_ends_a_command_quietly(site: Site, arguments: tuple[str, ...]) -> None:
    site.submit()
    reading, writing = os.pipe()
    os.close(reading)
    argv = [str(COMMAND), "--config", str(site.config), *arguments]
    with os.fdopen(writing, "w") as closed:
        done = subprocess.run(argv, stdout=closed, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stderr) == (141, "")
