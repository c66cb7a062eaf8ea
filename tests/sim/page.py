"""The results as they stand on a page: tables, and a plot of waiting times."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tests.sim.scenarios import Outcome, quantile

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 640, 300, 60, 14, 46
_COLOURS = ("#1f5fa8", "#c2571a", "#3a7d34", "#7b3f98")
_FIRST, _LAST = 0.05, 1000.0  # seconds, of the plot's axis
_DECADES = (0.1, 1.0, 10.0, 100.0, 1000.0)


def seconds(value: float) -> str:
    """Return a time as the page shows it."""
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def percent(part: float) -> str:
    """Return a part as the page shows it."""
    return f"{100 * part:.2f} %" if part < 0.1 else f"{100 * part:.0f} %"


def deliveries_table(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the rows of runs on Pub/Sub."""
    rows = [
        "| run | hosts | load | jobs | deliveries a job | refused here | refused now | surplus "
        "| wait: median, 99 %, longest | waited over 1 h | fairness |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for each in outcomes:
        parts = [percent(each.refused.get(name, 0.0)) for name in ("refused-here", "refused-now", "surplus")]
        waits = ", ".join(seconds(each.wait(part)) for part in (0.5, 0.99, 1.0))
        scenario = each.scenario
        rows.append(
            f"| {scenario.name} | {scenario.hosts} | {percent(scenario.load)} | {each.jobs} "
            f"| {each.deliveries / each.jobs:.2f} | {' | '.join(parts)} | {waits} | {each.starved} "
            f"| {each.fairness:.2f} |"
        )
    return rows


def kinds_table(outcome: Outcome) -> list[str]:
    """Return the waiting times of each kind of job."""
    rows = ["| kind | jobs | median | 99 % | longest |", "|---|---|---|---|---|"]
    for kind, waits in outcome.by_kind.items():
        times = " | ".join(seconds(quantile(waits, part)) for part in (0.5, 0.99, 1.0))
        rows.append(f"| {kind} | {len(waits)} | {times} |")
    return rows


def requests_table(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the rows of runs on a store queue: requests each hour and host, by what they are for."""
    kinds = ("look", "check", "claim", "renew", "end", "submit")
    rows = [
        f"| run | hosts | jobs an hour | {' | '.join(kinds)} | in all, each second | a job | too late "
        "| wait: median, 99 % |",
        "|---|---|---|" + "---|" * (len(kinds) + 4),
    ]
    for each in outcomes:
        hosts, hour = each.scenario.hosts, each.jobs * 60 / each.scenario.minutes
        parts = " | ".join(f"{each.requests.get(kind, 0.0) / hosts:.0f}" for kind in kinds)
        total = sum(each.requests.values())
        late = each.refused.get("too-late", 0.0) * each.deliveries / max(1, each.jobs)
        waits = ", ".join(seconds(each.wait(part)) for part in (0.5, 0.99))
        rows.append(
            f"| {each.scenario.name} | {hosts} | {hour:.0f} | {parts} | {total / 3600:.0f} "
            f"| {total / max(1.0, hour):.0f} | {late:.2f} | {waits} |"
        )
    return rows


def plot(outcomes: Sequence[Outcome]) -> str:
    """Return an SVG: for each run, the part of the jobs that waited no longer than that, over a logarithmic time."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for part in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(part)
        lines.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        lines.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{100 * part:.0f} %</text>')
    for at in _DECADES:
        x = _x(at)
        lines.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_y(0.0):.1f}" stroke="#ddd"/>')
        lines.append(f'<text x="{x:.1f}" y="{_y(0.0) + 16:.1f}" text-anchor="middle">{at:g} s</text>')
    lines.append(
        f'<text x="{(_LEFT + _WIDTH) / 2:.0f}" y="{_HEIGHT - 10}" text-anchor="middle">jobs that started within</text>'
    )
    for index, each in enumerate(outcomes):
        colour = _COLOURS[index % len(_COLOURS)]
        points = " ".join(f"{_x(each.wait(k / 200)):.1f},{_y(k / 200):.1f}" for k in range(201))
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = _y(0.0) - 14 - 16 * (len(outcomes) - 1 - index)
        label = f"{each.scenario.name}, {each.scenario.hosts} hosts, load {100 * each.scenario.load:.0f} %"
        lines.append(f'<text x="{_WIDTH - 16}" y="{y:.1f}" text-anchor="end" fill="{colour}">{label}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _x(at: float) -> float:
    part = math.log(min(_LAST, max(_FIRST, at)) / _FIRST) / math.log(_LAST / _FIRST)
    return _LEFT + part * (_WIDTH - 10 - _LEFT)


def _y(part: float) -> float:
    return _TOP + (1 - part) * (_HEIGHT - _TOP - _BOTTOM)
