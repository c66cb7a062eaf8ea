"""The power is cut again and again while an agent runs jobs from a queue on the disk. See inside_power_cut.py.

The guest is killed, and its disk loses what was not flushed; which of it, and when, is drawn from a fixed seed, or from
POWER_CUT_SEED. With POWER_CUT_WORDS=careless the agent syncs nothing, and the test fails: it sees what is lost.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.siffile import Part, sif_bytes
from tests.system import guest
from tests.system.volatile_disk import VolatileDisk
from tests.waiting import wait_until

CUTS = 4
PATIENCE = 600.0  # seconds for one part of a life: the guest is emulated, on a machine that may be busy
pytestmark = pytest.mark.timeout((2 * CUTS + 1) * PATIENCE)
# What the guest has said, and how often at most, before the power is cut at one of its next writes.
MOMENTS = (("submitted", 3), ("agent is ready", 1), ("job claimed", 3), ("job started", 3), ("outcome=succeeded", 3))
MOST_WRITES = 40
DISK_BYTES = 96 * 1024**2
_SUBMITTED = re.compile(r"^submitted (\S+) (\S+)\s*$", re.MULTILINE)
_SUCCEEDED = re.compile(r"attempt is over  attempt=(\S+)  outcome=succeeded  state=settled")
SEED = int(os.environ.get("POWER_CUT_SEED", "1"))


class Cellar:
    """A guest without a reliable supply, and its disk."""

    def __init__(self, folder: Path, choose: random.Random, words: str = "") -> None:
        self.folder = folder
        self.choose = choose
        self.words = words
        self.lost = 0
        self.submitted: dict[str, str] = {}
        self.succeeded: set[str] = set()
        image = folder / "disk"
        with image.open("wb") as file:
            file.truncate(DISK_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-b", "4096", str(image)], check=True)
        self.address = folder / "nbd"
        self.disk = VolatileDisk(image, self.address)
        guest.build(
            folder / "initramfs",
            Path(__file__).with_name("inside_power_cut.py"),
            {**guest.modules(), "tiny.sif": sif_bytes(Part("amd64"))},
        )

    def live_and_die(self, life: int) -> None:
        """Boot, wait for some moment of the jobs, and cut the power at one of the next writes to the disk."""
        answer = self.folder / f"answer-{life}"
        said, most = self.choose.choice(MOMENTS)
        times, writes = self.choose.randint(1, most), self.choose.randint(1, MOST_WRITES)
        process = self._boot(life)
        try:
            told = f"{said!r} {times} times in life {life}"
            wait_until(lambda: process.poll() is not None or _text(answer).count(said) >= times, PATIENCE, told)
            self.disk.cut_after(writes)
            wait_until(lambda: process.poll() is not None or self.disk.is_off.is_set(), PATIENCE, "a write")
            assert process.poll() is None, self.words_of(life)
        finally:
            process.kill()
            process.wait()
        self.lost += self.disk.lose(self.choose)
        lines = _whole_lines(answer)
        self.submitted.update(dict(_SUBMITTED.findall(lines)))
        self.succeeded.update(_SUCCEEDED.findall(lines))

    def last_life(self) -> dict[str, Any]:
        """Boot once more; return what the guest found when the queue was empty."""
        process = self._boot(CUTS, "last")
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):  # there is no report then
                process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
        printed = (self.folder / f"answer-{CUTS}").read_text(errors="replace")
        report = [json.loads(line) for line in printed.splitlines() if line.startswith('{"status"')]
        assert len(report) == 1, self.words_of(CUTS)
        found: dict[str, Any] = report[0]
        return found

    def words_of(self, life: int) -> str:
        """Return what a life of the guest printed."""
        return "\n".join((self.folder / f"{name}-{life}").read_text(errors="replace") for name in ("answer", "console"))

    def _boot(self, life: int, words: str = "") -> subprocess.Popen[bytes]:
        console, answer = self.folder / f"console-{life}", self.folder / f"answer-{life}"
        words = f"{self.words} {words}".strip()
        return subprocess.Popen(guest.command(self.folder / "initramfs", console, answer, words, self.address))


def _text(answer: Path) -> str:
    return answer.read_text(errors="replace") if answer.exists() else ""


def _whole_lines(answer: Path) -> str:
    """Leave out the last one: the power may have been cut in the middle of it."""
    return _text(answer).rpartition("\n")[0]


@pytest.fixture(scope="module")
def cellar(tmp_path_factory: pytest.TempPathFactory) -> Cellar:
    return Cellar(tmp_path_factory.mktemp("cellar"), random.Random(SEED), os.environ.get("POWER_CUT_WORDS", ""))


@pytest.fixture(scope="module")
def report(cellar: Cellar) -> dict[str, Any]:
    """What was left after the last life."""
    for life in range(CUTS):
        cellar.live_and_die(life)
    return cellar.last_life()


def test_the_disk_lost_what_was_not_flushed(cellar: Cellar, report: dict[str, Any]) -> None:
    assert cellar.lost > 0
    assert cellar.disk.flushes > len(cellar.submitted)


def test_every_job_that_was_submitted_has_one_result_and_it_is_whole(cellar: Cellar, report: dict[str, Any]) -> None:
    assert len(cellar.submitted) >= CUTS
    for sid, text in cellar.submitted.items():
        found = report["jobs"].get(sid)
        assert found is not None, f"{sid} is lost"
        assert found["outcome"] == "succeeded", (sid, found)
        assert found["files"] == {"log": f"said {text}\n", "outputs/out": f"{text}\n"}


def test_what_was_committed_stays_the_result(cellar: Cellar, report: dict[str, Any]) -> None:
    """Nothing that was said to have succeeded was lost and done a second time."""
    assert cellar.succeeded <= {job["winner"] for job in report["jobs"].values()}


def test_jobs_that_nobody_heard_of_end_as_well(cellar: Cellar, report: dict[str, Any]) -> None:
    """The power was cut before their submitter was told: they are whole, or never came into the queue."""
    for sid in report["jobs"].keys() - cellar.submitted.keys():
        job = report["jobs"][sid]
        assert (job["outcome"], None in job["files"].values()) == ("succeeded" if job["ended"] else None, False), sid


def test_nothing_is_left_in_the_queue_or_on_the_host(report: dict[str, Any]) -> None:
    assert [report[name] for name in ("status", "waiting", "dead", "journal", "attempts")] == [0, [], [], [], []]


def test_the_journal_was_never_damaged(report: dict[str, Any]) -> None:
    assert report["damaged"] == []


def test_one_attempt_at_a_job_succeeded_and_each_other_has_an_end(report: dict[str, Any]) -> None:
    for sid, job in report["jobs"].items():
        ends = dict(job["ended"])
        assert ends.pop(job["winner"], "succeeded") == "succeeded", (sid, job)
        assert set(ends.values()) <= {"lost", "stopped", "deferred"}, (sid, job)
