"""A small simulated fleet keeps what the page about fleets says of large ones."""

from __future__ import annotations

import pytest

from tests.sim.__main__ import BEGIN, PAGE, with_tables
from tests.sim.page import plot
from tests.sim.pubsub import Rules
from tests.sim.scenarios import Outcome, Scenario, quantile, simulate
from tests.sim.store import Terms
from tests.sim.workload import ODD_SIZES

HOSTS, MINUTES = 100, 6


@pytest.fixture(scope="module")
def mixed() -> Outcome:
    return simulate(Scenario("mixed fleet", HOSTS, 0.5, MINUTES))


def test_with_lanes_at_most_one_delivery_in_a_hundred_is_refused(mixed: Outcome) -> None:
    assert mixed.jobs > 500
    assert mixed.refused.get("refused-here", 0.0) == 0.0
    assert mixed.refused_in_all <= 0.01


def test_without_lanes_most_deliveries_are_in_vain() -> None:
    assert simulate(Scenario("no lanes", HOSTS, 0.5, MINUTES / 2, Rules(lanes=False))).refused_in_all > 0.3


def test_hosts_that_ask_without_room_refuse_more() -> None:
    busy = Scenario("odd sizes", HOSTS, 0.8, MINUTES / 2, jobs=ODD_SIZES)
    asked = simulate(busy._replace(rules=Rules(room=False)))
    assert asked.refused["refused-now"] > 1.2 * simulate(busy).refused["refused-now"]


def test_no_kind_of_job_and_no_submitter_waits_long_in_a_fleet_that_is_half_idle(mixed: Outcome) -> None:
    assert mixed.starved == 0
    assert all(quantile(waits, 0.5) < 30.0 for waits in mixed.by_kind.values())
    assert mixed.wait(0.5) < 1.0
    assert mixed.fairness > 0.7


def test_the_same_seed_gives_the_same_run(mixed: Outcome) -> None:
    assert simulate(mixed.scenario) == mixed


def test_marks_and_spread_save_most_requests_of_a_store_queue() -> None:
    def requests(terms: Terms) -> float:
        return sum(simulate(Scenario("store", 30, 0.5, 4, store=terms)).requests.values())

    with_both = requests(Terms(30.0, True))
    assert with_both < 0.7 * requests(Terms(30.0, True, marks=False))
    assert with_both < 0.8 * requests(Terms(30.0, True, spread=False))


def test_the_page_has_a_place_for_each_table_and_keeps_the_rest(mixed: Outcome) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(BEGIN.format(name) in page for name in ("deliveries", "kinds", "requests"))
    changed = with_tables(page, {"kinds": ["| a row |"]})
    assert "| a row |" in changed
    assert with_tables(changed, {"kinds": ["| a row |"]}) == changed
    assert plot([mixed]).startswith("<svg")
