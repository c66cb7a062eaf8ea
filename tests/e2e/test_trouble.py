"""What goes wrong on real hosts: one clear line each, growing pauses, no crash loop, nothing lost."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent.adapters.locks import lock_host
from agent.errors import ConfigError

from tests.e2e.site import Site
from tests.waiting import wait_until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount file systems")


def reasons(site: Site, sid: str) -> list[str]:
    """Return the reasons why the one host refuses a job."""
    return [each["reason"] for host in site.view(sid)["refusals"] for each in host["refusals"]]


# --- messages and job files -----------------------------------------------------------------------------------------

BROKEN = {
    "not-json": (b"image = 1", "not JSON"),
    "not-text": (b"\xff\xfe{}", "not UTF-8"),
    "empty": (b"", "not JSON"),
    "no-object": (b"[]", "not an object"),
    "no-api": (b'{"image": "file:///a.sif"}', 'no "api" key'),
    "wrong-api": (b'{"api": "edge-agent/v9", "image": "file:///a.sif"}', 'api = "edge-agent/v9"'),
    "unknown-key": (b'{"api": "edge-agent/v1", "image": "file:///a.sif", "comand": ["x"]}', 'did you mean "command"?'),
    "expires": (b'{"api": "edge-agent/v1", "image": "file:///a.sif", "expires": "soon"}', 'expires = "soon"'),
    "huge": (b'{"api": "edge-agent/v1", "name": "' + b"x" * 5 * 1024**2 + b'"}', "at most 4194304 bytes"),
}


def test_broken_messages_become_dead_letters_and_keep_nobody_waiting(site: Site) -> None:
    lane = site.queue / "queue" / "pending" / "any-none"
    lane.mkdir(parents=True)
    for name, (body, _) in BROKEN.items():
        (lane / f"{name}.json").write_bytes(body)
    good = site.submit()
    log = site.until_empty()
    assert site.state_of(good) == "succeeded"
    assert site.waiting() == []
    for name, (_, reason) in BROKEN.items():
        view = site.view(name)
        assert view["state"] == "dead"
        assert reason in view["reason"]
        lines = [line for line in log.splitlines() if f"sid={name} " in line]
        assert len(lines) == 1, lines
        assert "message cannot be run" in lines[0]
    assert "message cannot be run" not in site.until_empty()
    letter = json.loads((site.queue / "queue/dead/not-json.json").read_text())
    assert letter["body"] == "image = 1"


def test_a_wrong_job_file_is_refused_with_its_line_and_the_nearest_key(site: Site, tmp_path: Path) -> None:
    job = tmp_path / "job.toml"
    cases = {
        'image = "file:///a.sif"\n[requires]\nmemroy = "1GiB"\n': (f"{job}:3: ", 'did you mean "memory"?'),
        'image = "file:///a.sif"\ntimeout = "10 bananas"\n': (f"{job}:2: ", "10 bananas"),
        'image = "file:///a.sif"\ncommand = [\n': (f"{job}", "TOML"),
        'command = ["true"]\n': (f"{job}", "image"),
    }
    for text, words in cases.items():
        job.write_text(text)
        done = site.run("submit", str(job))
        assert (done.returncode, done.stdout) == (2, ""), done
        assert all(word in done.stderr for word in words), done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
    missing = site.run("submit", str(tmp_path / "none.toml"))
    assert (missing.returncode, len(missing.stderr.splitlines())) == (2, 1)
    assert site.waiting() == []


# --- images ---------------------------------------------------------------------------------------------------------


def test_unusable_images_are_refused_before_anything_runs(site: Site, tmp_path: Path) -> None:
    (tmp_path / "text.sif").write_text("no image\n")
    (tmp_path / "cut.sif").write_bytes(site.image.read_bytes()[:-100_000])
    names = {"none.sif": "image-missing", "text.sif": "image-unusable", "cut.sif": "image-unusable"}
    sids = {name: site.submit(image=(tmp_path / name).as_uri()) for name in names}
    site.until_empty()
    for name, reason in names.items():
        assert reasons(site, sids[name]) == [reason]
        assert (site.state_of(sids[name]), site.attempts(sids[name])) == ("waiting", [])


# --- stores ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def waits_in_outbox(site: Site) -> bool:
    return any(each["waiting"] for each in json.loads(site.call("status", "--json"))["attempts"])


@needs_root
def test_results_wait_for_room_and_are_delivered_when_there_is_some(
    new_site: Callable[..., Site], small_disk: Path
) -> None:
    site = new_site(queue=small_disk)
    sid = site.submit("echo done; dd if=/dev/zero of=out bs=1M count=2 2>/dev/null", requires={"disk": "8MiB"})
    with site.agent():
        wait_until(lambda: waits_in_outbox(site), 30, "the results wait")
        assert "no space left on device" in site.call("status")
        assert site.commits(sid) == 0
        remount(small_disk, "size=16m")
        site.wait_state(sid, "succeeded")
        site.wait_clean()
    assert len(site.output(sid)) == 2 * 1024**2
    assert (site.commits(sid), len(site.attempts(sid)), site.waiting()) == (1, 1, [])


@needs_root
def test_results_wait_out_a_read_only_queue_also_over_a_restart(
    new_site: Callable[..., Site], small_disk: Path
) -> None:
    site = new_site(queue=small_disk)
    sid = site.submit("echo running; while [ ! -e go ]; do sleep 0.05; done; echo kept > out")
    with site.agent("--service") as agent:
        site.wait_printed(sid, "running")
        remount(small_disk, "ro")
        (site.directory(sid) / "work" / "go").touch()
        wait_until(lambda: waits_in_outbox(site), 30, "the results wait")
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(30) == 0
    with site.agent("--service"):
        wait_until(lambda: waits_in_outbox(site), 30, "the results wait again")
        remount(small_disk, "rw")
        site.wait_state(sid, "succeeded")
        site.wait_clean()
    assert (site.output(sid), site.commits(sid), len(site.attempts(sid))) == ("kept\n", 1, 1)


def test_an_agent_waits_for_a_queue_that_is_not_mounted_yet(site: Site) -> None:
    sid = site.submit()
    away = site.queue.with_name("away")
    site.queue.rename(away)
    with site.agent() as agent:
        site.wait_journalled("queue does not answer")
        status = site.call("status")
        assert f"problem: queue work: {site.queue}" in status
        assert "mount the disk or share" in status
        assert agent.poll() is None
        away.rename(site.queue)
        site.wait_state(sid, "succeeded")
    log = site.agent_log()
    assert log.count("queue does not answer") == 1
    assert log.count("queue answers again") == 1


def test_one_damaged_record_hides_no_other_job(site: Site) -> None:
    good, bad = site.submit(name="good"), site.submit(name="bad")
    (site.queue / "results" / bad / "submission.json").write_text("{")
    states = {each["sid"]: each["state"] for each in json.loads(site.call("jobs", "--json"))}
    assert states == {good: "waiting", bad: "unreadable"}
    assert site.view("good")["sid"] == good
    done = site.run("status", bad)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert f'"{bad}/submission"' in done.stderr


# --- this host ------------------------------------------------------------------------------------------------------


def test_an_agent_without_a_container_runtime_says_so_and_leaves_the_jobs_alone(site: Site, tmp_path: Path) -> None:
    sid = site.submit()
    with site.agent("--until-empty", env={"PATH": str(tmp_path), "HOME": str(tmp_path)}) as agent:
        assert agent.wait(30) == 0
    assert (site.state_of(sid), site.attempts(sid), reasons(site, sid)) == ("waiting", [], ["runtime"])
    assert "apptainer" in site.view(sid)["refusals"][0]["refusals"][0]["remedy"].lower()
    assert site.agent_log().count("job does not fit this host") == 1
    site.until_empty()
    assert site.state_of(sid) == "succeeded"


@pytest.mark.parametrize("place", ["/proc", "/proc/edge-agent", "/dev/null", "/dev/null/state"])
def test_an_unusable_state_directory_is_named(site: Site, place: str) -> None:
    done = site.run("--state-dir", place, "run", "--until-empty")
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"edge-agent: {place}")
    assert "state" in line


def test_a_control_socket_that_cannot_be_made_is_named(site: Site) -> None:
    (site.state / "agent.sock").mkdir(parents=True)
    done = site.run("run", "--until-empty")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert f"{site.state}/agent.sock: " in done.stderr


def test_a_second_agent_on_one_state_directory_is_refused(site: Site) -> None:
    with site.agent() as agent:
        done = site.run("run", "--until-empty")
        assert agent.poll() is None
        assert json.loads(site.call("status", "--json"))["pid"] == agent.pid
    assert done.returncode == 3
    assert done.stderr == (
        f"edge-agent: an agent (process {agent.pid}) uses {site.state} already; stop it or use --state-dir\n"
    )


def test_a_second_agent_for_the_whole_host_is_refused(site: Site) -> None:
    site.config.write_text(re.sub("(?m)^(cpus|memory) = .*$", "", site.config.read_text()))
    # Whoever has the lock: an agent beside this test, or this test.
    with contextlib.ExitStack() as lock, contextlib.suppress(ConfigError):
        lock.enter_context(lock_host())
        done = site.run("run", "--until-empty")
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert "set resources.cpus and resources.memory" in done.stderr


def test_a_state_directory_with_a_long_path_works(new_site: Callable[..., Site], tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 50] * 3)
    site = new_site(f"{deep}/host-a")
    assert len(str(site.state)) > 150
    sid = site.submit("echo running; while [ ! -e go ]; do sleep 0.05; done")
    with site.agent():
        site.wait_printed(sid, "running")
        assert sid in site.call("status")
        (site.directory(sid) / "work" / "go").touch()
        site.wait_state(sid, "succeeded")


def test_a_host_that_cannot_set_up_jobs_pauses_until_its_canary_runs(
    new_site: Callable[..., Site], tmp_path: Path
) -> None:
    broken, runtime = tmp_path / "broken", tmp_path / "runtime"
    runtime.write_text(
        f'#!/bin/sh\nif [ "$1" = -s ] && [ -e {broken} ]; then echo "out of order" >&2; exit 255; fi\n'
        'exec apptainer "$@"\n'
    )
    runtime.chmod(runtime.stat().st_mode | stat.S_IXUSR)
    site = new_site(more=f'[runtime]\npath = "{runtime}"\n')
    broken.touch()
    sids = site.submit_many(3, "echo done > out")
    with site.agent() as agent:
        site.wait_journalled("host is faulty")
        assert "3 jobs in a row could not be set up" in site.call("status")
        site.wait_journalled("canary container fails")
        assert agent.poll() is None
        assert "agent: it takes no jobs, the host is faulty: 3 jobs in a row" in site.run("doctor").stdout
        broken.unlink()
        for sid in sids:
            site.wait_state(sid, "succeeded")
        assert site.call("status").splitlines()[1].startswith("ready")
        site.wait_clean()
    assert site.agent_log().count("canary container runs again") == 1
    assert {each["outcome"] for each in site.attempts(sids[0])[:-1]} == {"setup-failed"}
    assert [site.commits(sid) for sid in sids] == [1, 1, 1]
