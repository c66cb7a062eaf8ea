"""The power is cut again and again while an agent runs jobs from a queue on the disk. See inside_power_cut.py.

The guest is killed, and its disk loses what was not flushed; which of it, and when, is drawn from a fixed seed.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.siffile import Part, sif_bytes
from tests.system import guest
from tests.system.volatile_disk import VolatileDisk
from tests.waiting import wait_until

CUTS = 5
LIVES = CUTS + 1
pytestmark = pytest.mark.timeout(LIVES * guest.BOOT_TIMEOUT)
DISK_BYTES = 96 * 1024**2
SEED = int(os.environ.get("POWER_CUT_SEED", "1"))


class Cellar:
    """A guest without a reliable supply, and its disk."""

    def __init__(self, folder: Path, choose: random.Random, words: str = "") -> None:
        self.folder = folder
        self.choose = choose
        self.words = words
        self.lost = 0
        self.submitted: dict[str, str] = {}
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
        """Boot, wait until some jobs have succeeded, and cut the power at one of the next writes to the disk."""
        jobs, answer = self.choose.randint(1, 4), self.folder / f"answer-{life}"
        process = self._boot(life)
        try:
            told = f"{jobs} jobs succeeded in life {life}"
            wait_until(lambda: process.poll() is not None or _succeeded(answer) >= jobs, guest.BOOT_TIMEOUT, told)
            self.disk.cut_after(self.choose.randint(1, 60))
            wait_until(lambda: process.poll() is not None or self.disk.is_off.is_set(), guest.BOOT_TIMEOUT, "a write")
            assert process.poll() is None, self.words_of(life)
        finally:
            process.kill()
            process.wait()
        self.lost += self.disk.lose(self.choose)
        self.submitted.update(dict(line.split()[1:3] for line in _lines(answer)))

    def last_life(self) -> dict[str, Any]:
        """Boot once more; return what the guest found when the queue was empty."""
        process = self._boot(CUTS, "last")
        try:
            process.wait(guest.BOOT_TIMEOUT)
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


def _lines(answer: Path) -> list[str]:
    """Return the whole lines about submitted jobs: the power may have been cut in the middle of the last one."""
    lines = answer.read_text(errors="replace").split("\n")[:-1] if answer.exists() else []
    return [line.strip() for line in lines if line.startswith("submitted ")]


def _succeeded(answer: Path) -> int:
    return answer.read_text(errors="replace").count("outcome=succeeded") if answer.exists() else 0


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
        assert (found["commits"], found["outcome"]) == (1, "succeeded"), (sid, found)
        assert found["files"] == {"log": f"said {text}\n", "outputs/out": f"{text}\n"}


def test_jobs_that_nobody_heard_of_end_as_well(cellar: Cellar, report: dict[str, Any]) -> None:
    """The power was cut before their submitter was told: they may be there or not, but are no halves."""
    assert {job["outcome"] for sid, job in report["jobs"].items() if sid not in cellar.submitted} <= {"succeeded"}


def test_the_queue_is_empty_and_nothing_is_left_on_the_host(report: dict[str, Any]) -> None:
    assert (report["status"], report["waiting"], report["journal"], report["attempts"]) == (0, [], [], [])


def test_the_journal_was_never_damaged(report: dict[str, Any]) -> None:
    assert report["damaged"] == []


def test_each_attempt_has_an_end(report: dict[str, Any]) -> None:
    ends = {end for job in report["jobs"].values() for end in job["ended"]}
    assert ends <= {"succeeded", "lost", "stopped", "deferred"}, ends
