"""Jobs on several agents while everything goes wrong, for as long as wished: `python -m tests.chaos --help`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

import msgspec

from tests.chaos import image, labs
from tests.chaos.running import Plan, Report, go

_SECONDS_A_JOB = 0.7


def main() -> int:
    """Do what the command line says; 1 when something was lost, done twice or left."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same seed is the same schedule")
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--queue", choices=sorted(labs.LABS), default="dir")
    parser.add_argument("--agents", type=int, default=3)
    parser.add_argument("--minutes", type=float, help="in which jobs come and things go wrong; by default 0.7 s a job")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--keep", type=Path, help="a new directory for everything, which stays")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of all that ends what was started
    seconds = asked.minutes * 60 if asked.minutes else max(20.0, asked.jobs * _SECONDS_A_JOB)
    plan = Plan(asked.seed, asked.queue, asked.jobs, asked.agents, seconds, patience=600.0 + 2 * seconds)
    print(*(f"# {fault}" for fault in plan.faults), sep="\n", file=sys.stderr)
    report = _go(plan, asked.keep)
    print(json.dumps(msgspec.to_builtins(report)) if asked.json else _text(report))
    return 1 if report.violations else 0


def _go(plan: Plan, keep: Path | None) -> Report:
    tools = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-agent-tests"
    with tempfile.TemporaryDirectory(prefix="chaos-") as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=keep is None)
        image.build(folder / "jobs.sif")
        return go(plan, folder.resolve(), folder.resolve() / "jobs.sif", tools, _progress)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text} ", end="", file=sys.stderr, flush=True)


def _text(report: Report) -> str:
    plan = report.plan
    lines = [
        f"seed {plan.seed}, queue {plan.queue}, {plan.jobs} jobs, {plan.hosts} agents: {report.took:.0f} s",
        "faults: " + ", ".join(f"{count} {kind}" for kind, count in report.faults.items()),
        f"{report.attempts} attempts; results: " + ", ".join(f"{n} {name}" for name, n in report.results.items()),
        *(f"ended by itself: {each}" for each in report.ended),
        *(f"VIOLATION {each}" for each in report.violations),
        f"{len(report.violations)} violations",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
