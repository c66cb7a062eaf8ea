"""What a job is at, on one line of a terminal that is written anew; nothing where nobody looks on."""

from __future__ import annotations

import shutil
import sys

from agent.client import JobView
from agent.model.live import Progress
from agent.model.units import show_duration

STEPS = {
    "workspace": "staging",
    "image": "staging the image",
    "stage-in": "staging the inputs",
    "run": "running",
    "deliver": "saving",
    "recovery": "recovering",
}
CLEAR = "\r\x1b[K"


class ProgressLine:
    """The line below everything that is printed while a job is followed."""

    def __init__(self) -> None:
        self.is_on = sys.stderr.isatty()
        self._shown = ""
        self._is_at_start = True

    def show(self, text: str) -> None:
        """Write the line anew; a line of the log that is not ended yet is left alone."""
        if not self.is_on or text == self._shown or not self._is_at_start:
            return
        room = shutil.get_terminal_size().columns - 1
        sys.stderr.write(CLEAR + text[:room])
        sys.stderr.flush()
        self._shown = text

    def clear(self) -> None:
        """Make room for what is printed next."""
        if self._shown:
            sys.stderr.write(CLEAR)
            sys.stderr.flush()
            self._shown = ""

    def printed(self, data: bytes) -> None:
        """Note what was printed to standard output."""
        self._is_at_start = not sys.stdout.isatty() or data.endswith(b"\n")


def progress_text(view: JobView, progress: Progress | None, now: float) -> str:
    """Return what a job that is not over is at. now: seconds since the epoch, by the clock of who looks."""
    if view.state == "waiting":
        return f"{view.sid}  waiting for {show_duration(max(0.0, now - view.submitted_at))}"
    if progress is None:
        return f"{view.sid}  {'running' if view.state == 'started' else 'staging'} on {view.host}"
    percent = "" if progress.percent is None else f", {progress.percent} %"
    lasted = f" for {show_duration(progress.lasted)}" if progress.lasted >= 1.0 else ""
    return f"{view.sid}  {STEPS.get(progress.step, progress.step)}{percent} on {view.host}{lasted}"
