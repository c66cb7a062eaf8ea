"""Which subscriptions of a project are taken for queues of clients."""

from __future__ import annotations

import re

import pytest
from agent.pubsub_choice import Choice, Found, Rules, choose
from agent.pubsub_plan import DELETED_TOPIC, LANES, PLAIN, Place, filter_of, plan, subscription_path, topic_path

EVERYTHING = Rules()


def found(name: str, topic: str | None = None, **more: object) -> Found:
    """Return a subscription; its topic is called as a client would do it."""
    path = topic if topic == DELETED_TOPIC else topic_path("lab-1", topic or name.removesuffix("_sub"))
    return Found(subscription_path("lab-1", name), path, **more)  # type: ignore[arg-type]


def planned(place: Place) -> list[Found]:
    """Return what `queue init` makes."""
    return [Found(each.name, each.topic, each.filter) for each in plan(place).subscriptions]


def chosen(*each: Found, rules: Rules = EVERYTHING) -> tuple[str, ...]:
    return choose(each, (), rules).names


def patterns(match: str | None, mismatch: str | None = None) -> Rules:
    return Rules(re.compile(match) if match else None, re.compile(mismatch) if mismatch else None)


def test_what_clients_made_is_served_and_sorted() -> None:
    assert chosen(found("second_sub"), found("first_sub"), found("bare")) == ("bare", "first_sub", "second_sub")
    assert chosen() == ()


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        (patterns("^exp"), ("exp1_sub", "exp2")),
        (patterns("1$"), ("exp1_sub",)),  # the name of the queue has no _sub
        (patterns(None, "^exp"), ("other_sub",)),
        (patterns("exp", "2$"), ("exp1_sub",)),
        (patterns("nothing"), ()),
        (patterns("_sub"), ()),
    ],
)
def test_match_and_mismatch_are_searched_in_the_queues_name(rules: Rules, names: tuple[str, ...]) -> None:
    assert chosen(found("exp1_sub"), found("exp2"), found("other_sub"), rules=rules) == names


@pytest.mark.parametrize(
    "subscription",
    [
        found("exp_response"),
        found("exp_response_sub", "exp_response"),
        found("reader-of-answers", "exp_response"),
        found("jobs-dead"),
        found("studio_sub-dead", "studio_sub-dead"),
        found("reader-of-dead-letters", "jobs-dead"),
        found("orphan_sub", DELETED_TOPIC),
        found("pushing_sub", pulled=False),
        found("jobs.plain", "jobs", filter=filter_of(PLAIN)),
        found("jobs.arm64-none", "jobs", filter=filter_of("arm64-none")),
    ],
    ids=lambda each: each.name.rpartition("/")[2],
)
def test_what_is_no_queue_of_clients_is_left_alone(subscription: Found) -> None:
    assert chosen(subscription, found("exp_sub")) == ("exp_sub",)


def test_names_that_only_look_like_others_are_served() -> None:
    names = ("response_sub", "exp_responses_sub", "deadline_sub", "jobs.plain_sub", "exp.arm64-none")
    assert chosen(*map(found, names)) == tuple(sorted(names))


def test_a_filter_that_is_not_about_lanes_is_the_clients_affair() -> None:
    assert chosen(found("exp_sub", filter='attributes.owner = "me"')) == ("exp_sub",)


def test_another_subscription_on_a_topic_with_lanes_has_copies_of_all_jobs() -> None:
    lanes = planned(Place("lab-1", "jobs"))
    assert chosen(*lanes, found("archive", "jobs"), found("exp_sub")) == ("exp_sub",)


def test_queues_that_the_agent_serves_by_their_own_names_are_left_to_that() -> None:
    lanes, single = Place("lab-1", "jobs"), Place("lab-1", "studio_sub", plain=True)
    # A lane that somebody made without its filter is a lane all the same.
    unfiltered = [found(f"jobs.{lane}", "jobs-too") for lane in LANES]
    there = [*planned(lanes), *planned(single), *unfiltered, found("archive", "jobs"), found("exp_sub")]
    assert chosen(*there, rules=Rules(others=(lanes, single))) == ("exp_sub",)


def test_the_sub_and_the_bare_name_are_two_queues() -> None:
    assert chosen(found("exp"), found("exp_sub")) == ("exp", "exp_sub")


def test_more_than_can_be_served_are_counted_and_those_that_are_served_stay() -> None:
    there = [found(f"exp{number}_sub") for number in range(5)]
    assert choose(there, (), EVERYTHING, most=3) == Choice(("exp0_sub", "exp1_sub", "exp2_sub"), 2)
    assert choose(there, ("exp4_sub", "gone_sub"), EVERYTHING, most=3).names == ("exp0_sub", "exp1_sub", "exp4_sub")
    assert choose(there, (), EVERYTHING, most=5) == Choice(tuple(f"exp{number}_sub" for number in range(5)))
