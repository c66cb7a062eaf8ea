"""Names, filters and settings of a queue on Pub/Sub, and the files in deploy/pubsub that show them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from agent.errors import InvalidInput
from agent.model.job import parse_job
from agent.pubsub_plan import (
    AGENT,
    LANES,
    OPERATOR,
    PLAIN,
    PUBLISH,
    SUBMITTER,
    SUBSCRIBE,
    Place,
    Subscription,
    accounts_as_gcloud,
    accounts_as_terraform,
    as_gcloud,
    as_terraform,
    attributes_of,
    belongs,
    differences,
    filter_of,
    grants,
    has_lanes,
    is_project,
    place_of,
    plan,
    project_of,
    url_of,
)

DEPLOY = Path(__file__).parents[2] / "deploy/pubsub"
EXAMPLE = Place("my-project", "edge-jobs")


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("pubsub://lab-1/jobs", Place("lab-1", "jobs")),
        ("pubsub://example.com:lab/jobs.v2", Place("example.com:lab", "jobs.v2")),
        ("pubsub://lab-1/studio-jobs?plain", Place("lab-1", "studio-jobs", plain=True)),
    ],
)
def test_a_url_names_project_and_topic_or_a_plain_subscription(url: str, place: Place) -> None:
    assert place_of(url) == place


@pytest.mark.parametrize(
    "url",
    [
        "pubsub://jobs",
        "pubsub://lab-1/",
        "pubsub://lab-1/jo",
        "pubsub://lab-1/goog-jobs",
        "pubsub://lab-1/a/b/c",
        "pubsub://lab-1/jobs?plane",
        "pubsub://lab-1/jobs#x",
        "pubsub://Lab 1/jobs",
        "s3://lab-1/jobs",
        "pubsub:///jobs",
    ],
)
def test_what_pubsub_cannot_be_called_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        place_of(url)


def test_a_url_names_a_project_whose_queues_are_found() -> None:
    assert is_project("pubsub://lab-1/*")
    assert project_of("pubsub://example.com:lab/*") == "example.com:lab"
    assert not any(map(is_project, ["pubsub://lab-1/jobs", "pubsub://lab-1/jobs*", "pubsub://lab-1", "s3://lab-1/*"]))


@pytest.mark.parametrize("url", ["pubsub://lab-1/*?plain", "pubsub://lab-1/*#x", "pubsub://Lab 1/*", "pubsub:///*"])
def test_a_project_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        project_of(url)


def test_a_project_is_no_place_and_the_error_says_what_to_name() -> None:
    with pytest.raises(InvalidInput, match=r'all queues of a project.*"pubsub://lab-1/SUBSCRIPTION\?plain"'):
        place_of("pubsub://lab-1/*")


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("pubsub://lab-1/jobs", True),
        ("pubsub://lab-1/jobs_sub?plain", False),
        ("pubsub://lab-1/*", False),
        ("s3://b", False),
    ],
)
def test_only_queues_with_lanes_are_made_by_operators(url: str, answer: bool) -> None:
    assert has_lanes(url) is answer


@pytest.mark.parametrize("url", ["pubsub://lab-1/jobs", "pubsub://lab-1/jobs_sub?plain"])
def test_a_place_has_the_url_that_names_it(url: str) -> None:
    assert url_of(place_of(url)) == url


@pytest.mark.parametrize(
    ("url", "called"),
    [("pubsub://lab-1/jobs", "jobs"), ("pubsub://lab-1/exp_sub?plain", "exp"), ("pubsub://lab-1/exp?plain", "exp")],
)
def test_clients_call_a_queue_without_the_sub_of_its_subscription(url: str, called: str) -> None:
    assert place_of(url).queue == called


@pytest.mark.parametrize("lane", LANES)
def test_a_message_belongs_to_exactly_one_lane(lane: str) -> None:
    assert [other for other in LANES if belongs(other, attributes_of(lane))] == [lane]


def test_the_lane_of_every_job_is_a_lane_of_the_plan() -> None:
    jobs: list[dict[str, Any]] = [
        {"image": "file:///a"},
        {"image": "file:///a", "requires": {"arch": ["riscv64"], "accel": "jetson"}},
    ]
    assert {"-".join(parse_job(job).lane) for job in jobs} <= set(LANES)


def test_a_lane_without_attributes_takes_what_has_none_and_nothing_else() -> None:
    assert belongs(PLAIN, {"other": "x"})
    assert not belongs(PLAIN, {"edge_arch": "any"})
    assert not belongs("any-none", {"edge_arch": "any"})


def test_filters_are_what_the_server_is_asked_for() -> None:
    assert filter_of("arm64-jetson") == 'attributes.edge_arch = "arm64" AND attributes.edge_accel = "jetson"'
    assert filter_of(PLAIN) == "NOT attributes:edge_arch"


def test_a_plan_has_a_subscription_for_each_lane_and_one_that_keeps_dead_letters() -> None:
    made = plan(place_of("pubsub://lab-1/jobs"), ("any-none", PLAIN))
    assert made.topics == ("projects/lab-1/topics/jobs", "projects/lab-1/topics/jobs-dead")
    assert [(each.name.split("/")[-1], each.topic.split("/")[-1], each.filter) for each in made.subscriptions] == [
        ("jobs.any-none", "jobs", filter_of("any-none")),
        ("jobs.plain", "jobs", filter_of(PLAIN)),
        ("jobs-dead", "jobs-dead", ""),
    ]
    assert all(not each.expires and each.retention_days == 31 for each in made.subscriptions)


def test_a_plain_queue_is_one_subscription_without_filter() -> None:
    made = plan(place_of("pubsub://lab-1/studio?plain"))
    assert [(each.name.split("/")[-1], each.filter) for each in made.subscriptions] == [("studio", "")]
    assert made.topics == ("projects/lab-1/topics/studio",)


def test_the_subscription_of_a_client_is_made_on_the_topic_that_it_publishes_to() -> None:
    made = plan(place_of("pubsub://lab-1/exp_sub?plain"))
    assert made.topics == ("projects/lab-1/topics/exp",)
    assert [(each.name, each.topic) for each in made.subscriptions] == [
        ("projects/lab-1/subscriptions/exp_sub", "projects/lab-1/topics/exp")
    ]


def test_every_name_is_legal_and_no_two_are_the_same() -> None:
    made = plan(Place("lab-1", "j" * 226))
    names = [path.split("/")[-1] for path in (*made.topics, *(each.name for each in made.subscriptions))]
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9._~+%-]{2,254}", name) for name in names)
    assert len({each.name for each in made.subscriptions}) == len(LANES) + 1


WANTED = plan(place_of("pubsub://lab-1/jobs"), ("any-none",)).subscriptions[0]


def test_a_subscription_as_planned_differs_in_nothing() -> None:
    assert differences(WANTED, WANTED) == ()


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (WANTED._replace(filter="NOT attributes:x"), ["NOT attributes:x", "subscriptions delete jobs.any-none"]),
        (WANTED._replace(topic="projects/lab-1/topics/old"), ["topic old", "neither can be changed"]),
        (WANTED._replace(ack_deadline=10), ["--ack-deadline=20", "update jobs.any-none --project=lab-1"]),
        (WANTED._replace(retention_days=7), ["--message-retention-duration=31d"]),
        (WANTED._replace(expires=True), ["--expiration-period=never"]),
        (WANTED._replace(odd=("it pushes",)), ["it pushes"]),
    ],
)
def test_each_difference_is_named_with_the_command_that_ends_it(found: Subscription, words: list[str]) -> None:
    (problem,) = differences(WANTED, found)
    assert all(word in problem for word in words), problem


def test_topic_and_times_of_a_plain_queue_are_its_owners() -> None:
    theirs = WANTED._replace(topic="projects/x/topics/theirs", ack_deadline=10, retention_days=7)
    assert differences(WANTED, theirs, plain=True) == ()
    assert differences(WANTED, theirs._replace(expires=True, filter="f"), plain=True) != ()


def test_the_commands_in_deploy_are_what_the_code_prints() -> None:
    assert (DEPLOY / "edge-jobs.sh").read_text() == as_gcloud(plan(EXAMPLE))


def test_the_terraform_in_deploy_is_what_the_code_prints() -> None:
    assert (DEPLOY / "edge-jobs.tf").read_text() == as_terraform(plan(EXAMPLE))


def test_terraform_resources_have_names_of_their_own() -> None:
    text = as_terraform(plan(Place("lab-1", "a.b+c")))
    names = re.findall(r'^resource "([^"]+)" "([A-Za-z_][A-Za-z0-9_-]*)" \{$', text, re.MULTILINE)
    assert len(names) == len(set(names)) == len(LANES) + 3


# --- accounts ---------------------------------------------------------------------------------------------


def test_the_accounts_in_deploy_are_what_the_code_prints() -> None:
    assert (DEPLOY / "edge-accounts.sh").read_text() == accounts_as_gcloud(plan(EXAMPLE))
    assert (DEPLOY / "edge-accounts.tf").read_text() == accounts_as_terraform(plan(EXAMPLE))


def test_each_account_may_do_its_work_and_no_other_ones() -> None:
    made = plan(EXAMPLE, ("any-none", PLAIN))
    jobs, dead = made.topics
    lanes = {EXAMPLE.subscription("any-none"), EXAMPLE.subscription(PLAIN)}
    letters = "projects/my-project/subscriptions/edge-jobs-dead"

    def may(account: str, role: str) -> set[str]:
        return {each.on for each in grants(made) if (each.account, each.role) == (account, role)}

    assert (may(AGENT, SUBSCRIBE), may(AGENT, PUBLISH)) == (lanes, {dead})
    assert (may(SUBMITTER, SUBSCRIBE), may(SUBMITTER, PUBLISH)) == (set(), {jobs})
    assert (may(OPERATOR, SUBSCRIBE), may(OPERATOR, PUBLISH)) == ({letters}, {jobs})


def test_no_grant_is_given_twice_and_all_are_on_parts_of_the_queue() -> None:
    made = plan(EXAMPLE)
    parts = {*made.topics, *(each.name for each in made.subscriptions)}
    given = [(each.account, each.role, each.on) for each in grants(made)]
    assert len(given) == len(set(given))
    assert {on for _, _, on in given} == parts


@pytest.mark.parametrize(
    ("project", "member"),
    [
        ("lab-1", "serviceAccount:edge-submit@lab-1.iam.gserviceaccount.com"),
        ("example.com:lab", "serviceAccount:edge-submit@lab.example.com.iam.gserviceaccount.com"),
    ],
)
def test_an_account_has_the_address_that_google_gives_it(project: str, member: str) -> None:
    assert member in {each.member for each in grants(plan(Place(project, "jobs")))}


def test_the_page_names_each_right_with_its_reason() -> None:
    page = (DEPLOY / "README.md").read_text().splitlines()
    for each in grants(plan(EXAMPLE)):
        ends = f"| `{each.permission}` | `{each.role}` | {each.why} |"
        assert any(row.startswith(f"| `{each.account}` |") and row.endswith(ends) for row in page), each


def test_terraform_grants_refer_to_resources_that_are_there() -> None:
    made = plan(EXAMPLE)
    there = set(re.findall(r'(?m)^resource "([^"]+)" "([^"]+)"', as_terraform(made) + accounts_as_terraform(made)))
    named = re.findall(r"= (google_\w+)\.([A-Za-z0-9_-]+)\.", accounts_as_terraform(made))
    assert set(named) <= there
    labels = re.findall(r'(?m)^resource "[^"]+_iam_member" "([^"]+)"', accounts_as_terraform(made))
    assert len(labels) == len(set(labels)) == len(grants(made))
