"""Simulate the fleets of the page about them, and write its tables and its plot.

    python -m tests.sim [--quick] [--page]

--quick: smaller fleets, a minute instead of half an hour; what the tables say is alike. --page: they replace those of
agent/docs/fleets.md, and the plot beside it; without it they are printed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.sim.page import deliveries_table, kinds_table, plot, requests_table
from tests.sim.pubsub import Rules
from tests.sim.scenarios import Outcome, Scenario, simulate
from tests.sim.store import Terms
from tests.sim.workload import ODD_SIZES

BELL, NO_BELL = Terms(30.0, True), Terms(5.0, False)
PAGE = Path("agent/docs/fleets.md")
BEGIN, END = "<!-- {}: made by `python -m tests.sim` -->", "<!-- end -->"


def scenarios(*, quick: bool) -> tuple[Sequence[Scenario], Sequence[Scenario]]:
    """Return the runs on Pub/Sub and those on a store queue."""
    few, many, minutes = (100, 300, 10) if quick else (1000, 10_000, 12)
    pubsub = [
        Scenario("mixed fleet", few, 0.5, minutes),
        Scenario("mixed fleet, busy", few, 0.8, minutes),
        Scenario("mixed fleet, large", many, 0.5, minutes / 4),
        Scenario("nothing held", few, 0.5, minutes, Rules(held="nothing")),
        Scenario("all held", few, 0.5, minutes, Rules(held="all")),
        Scenario("asked without room", few, 0.5, minutes, Rules(room=False)),
        Scenario("no lanes", few, 0.5, minutes / 3, Rules(lanes=False)),
        Scenario("odd sizes", few, 0.5, minutes, jobs=ODD_SIZES),
    ]
    lab = 30 if quick else 100
    store = [
        Scenario("bell", lab, 0.5, minutes / 2, store=BELL),
        Scenario("no bell", lab, 0.5, minutes / 2, store=NO_BELL),
        Scenario("bell, without marks", lab, 0.5, minutes / 4, store=BELL._replace(marks=False)),
        Scenario("bell, all at once", lab, 0.5, minutes / 4, store=BELL._replace(spread=False)),
        Scenario("bell, large", few, 0.5, minutes / 12, store=BELL),
        Scenario("bell, huge, few jobs", many, 0.002, minutes / 12, store=BELL),
    ]
    return pubsub, store


def run(scenarios: Iterable[Scenario]) -> list[Outcome]:
    """Simulate them one after the other, telling a terminal how far it is."""
    outcomes = []
    for scenario in scenarios:
        began = time.monotonic()
        outcomes.append(simulate(scenario))
        if sys.stderr.isatty():
            sys.stderr.write(f"{scenario.name}, {scenario.hosts} hosts: {time.monotonic() - began:.0f} s\n")
    return outcomes


def with_tables(page: str, tables: Mapping[str, Sequence[str]]) -> str:
    """Return the page with its tables replaced; each stands between two comments, the first of which names it."""
    for name, rows in tables.items():
        begin = BEGIN.format(name)
        before, found, rest = page.partition(begin)
        if not found:
            raise SystemExit(f"the page has no line {begin!r}")
        page = f"{before}{begin}\n\n" + "\n".join(rows) + f"\n\n{END}" + rest.partition(END)[2]
    return page


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="smaller fleets")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE} and its plot")
    wanted = parser.parse_args()
    pubsub, store = (run(each) for each in scenarios(quick=wanted.quick))
    tables = {
        "deliveries": deliveries_table(pubsub),
        "kinds": kinds_table(pubsub[0]),
        "requests": requests_table(store),
    }
    if not wanted.page:
        for rows in tables.values():
            print("\n".join([*rows, ""]))
        return
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), tables), encoding="utf-8")
    shown = [each for each in pubsub if each.scenario.name in ("mixed fleet", "mixed fleet, busy", "no lanes")]
    PAGE.with_suffix(".svg").write_text(plot(shown), encoding="utf-8")


if __name__ == "__main__":
    main()
