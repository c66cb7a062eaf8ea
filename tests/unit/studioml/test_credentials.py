from __future__ import annotations

from typing import Any

import pytest
from agent.model.cargo import Access
from agent.studioml.reading import Reading, Rules

from tests.unit.studioml.requests import HOST, changed, read, refusal, table

WORKSPACE = "experiment.artifacts.workspace"
OWN = {"aws": {"access_key": "OWN", "secret_access_key": "own", "session_token": "tok", "region": "eu-west-1"}}
RULES = Rules()
STORAGE = {"aws": {"access_key": "STORE", "secret_access_key": "store"}}
VARIABLES = {"AWS_ACCESS_KEY_ID": "ENV", "AWS_SECRET_ACCESS_KEY": "env", "AWS_DEFAULT_REGION": "us-east-2"}


def request(credentials: Any, storage: Any = None, env: Any = None, endpoint: str = f"http://{HOST}") -> dict[str, Any]:
    message = changed(f"{WORKSPACE}.credentials", credentials)
    message["config"]["storage"] = {"type": "s3", "endpoint": endpoint, "credentials": storage}
    message["config"]["env"] = env
    return message


def access(message: dict[str, Any], rules: Rules = RULES) -> Access | None:
    """Return the rights on the workspace."""
    decoded = read(message, Reading(rules=rules))
    return decoded.cargo.access.get(decoded.job.inputs[0].uri)


def test_the_rights_of_the_artifact_itself_come_first() -> None:
    found = access(request(OWN, STORAGE, VARIABLES))
    assert found == Access(access_key="OWN", secret_key="own", session_token="tok", region="eu-west-1")


def test_then_those_of_the_storage_on_the_same_server() -> None:
    found = access(request(None, STORAGE, VARIABLES))
    assert found == Access(access_key="STORE", secret_key="store", region="us-east-2")
    other = access(request(None, STORAGE, VARIABLES, endpoint="http://elsewhere:9000"))
    assert other == Access(access_key="ENV", secret_key="env", region="us-east-2")


def test_then_those_among_the_variables() -> None:
    old = {"AWS_ACCESS_KEY": "ENV", "AWS_SECRET_KEY": "env", "AWS_SESSION_TOKEN": "tok"}
    assert access(request(None, None, old)) == Access(access_key="ENV", secret_key="env", session_token="tok")
    assert access(request({"aws": None}, None, VARIABLES)) == access(request(None, {}, VARIABLES))


def test_then_none_or_those_of_the_agent_where_the_operator_wants_that() -> None:
    assert access(request(None)) == Access()
    assert access(request(None), Rules(agent_access=True)) is None
    assert access(request(None, None, VARIABLES), Rules(agent_access=True)) is not None


def test_the_agents_own_rights_are_on_its_own_server_where_no_other_is_named() -> None:
    message = request(None)
    message["experiment"]["artifacts"]["workspace"] |= {"qualified": "s3://data/x.tar", "bucket": "data"}
    del message["config"]["storage"]
    own = read(message, Reading(rules=Rules(agent_access=True))).job
    assert own.inputs[0].uri == "s3://data/x.tar"
    assert read(message).job.inputs[0].uri == "s3+https://s3.amazonaws.com/data/x.tar"


def test_half_a_pair_of_variables_is_none() -> None:
    assert access(request(None, None, {"AWS_ACCESS_KEY_ID": "ENV"})) == Access()
    assert access(request(None, None, {**VARIABLES, "AWS_SECRET_ACCESS_KEY": "$AWS_SECRET_ACCESS_KEY"})) == Access()


def test_two_empty_keys_are_anonymous_and_a_profile_is_nothing_to_us() -> None:
    empty = {"access_key": "", "secret_access_key": ""}
    assert access(request({"aws": empty}, STORAGE, VARIABLES)) == Access()
    assert access(request({"aws": {**empty, "profile": "lab"}}, None, VARIABLES)) == access(
        request(None, None, VARIABLES)
    )


@pytest.mark.parametrize("name", ["secret_access_key", "secret_key"])
def test_the_secret_key_has_two_names(name: str) -> None:
    assert access(request({"aws": {"access_key": "a", name: "s"}})) == Access(access_key="a", secret_key="s")


@pytest.mark.parametrize(
    "aws",
    [
        {"access_key": "a"},
        {"secret_key": "s"},
        {"access_key": 5, "secret_key": "s"},
        {"access_key": "a b", "secret_key": "s"},
        5,
    ],
)
def test_keys_that_are_none_are_refused(aws: Any) -> None:
    assert "credentials" in str(refusal(request({"aws": aws})))


def test_the_host_says_the_region_before_all_others() -> None:
    message = request(OWN)
    message["experiment"]["artifacts"]["workspace"] |= {
        "qualified": "s3://s3-us-west-2.amazonaws.com/b1/x.tar",
        "bucket": "b1",
    }
    found = access(message)
    assert found is not None
    assert found.region == "us-west-2"


@pytest.mark.parametrize(
    ("credentials", "found"),
    [
        (None, Access()),
        ({}, Access()),
        ({"aws": {"access_key": "a", "secret_key": "s"}}, Access()),
        ({"plain": {"user": "u", "password": "p w"}}, Access(user="u", password="p w")),
        ({"jwt": {"token": "abc.def"}}, Access(token="abc.def")),
    ],
)
def test_http_knows_users_and_tokens(credentials: Any, found: Access) -> None:
    message = request(credentials, STORAGE, VARIABLES)
    message["experiment"]["artifacts"]["workspace"]["qualified"] = "https://example.com/x.tar"
    assert access(message) == found


def test_a_user_in_a_url_is_taken_out_of_it() -> None:
    message = request(None)
    message["experiment"]["artifacts"]["workspace"]["qualified"] = "https://u:p%40w@example.com/x.tar"
    decoded = read(message)
    assert decoded.job.inputs[0].uri == "https://example.com/x.tar"
    assert decoded.cargo.access["https://example.com/x.tar"] == Access(user="u", password="p@w")


@pytest.mark.parametrize("url", ["gs://b1/x.tar", "file:///srv/x.tar"])
def test_google_and_files_are_reached_by_the_agents_own_rights(url: str) -> None:
    message = request(OWN, STORAGE, VARIABLES)
    message["experiment"]["artifacts"]["workspace"]["qualified"] = url
    assert access(message) is None


def test_the_database_has_its_own_rights_or_those_of_the_storage() -> None:
    message = table()
    uri = "s3+http://127.0.0.1:5185/studioml-meta/"
    message["config"]["database"]["credentials"] = OWN
    assert read(message).cargo.access[uri].access_key == "OWN"
    del message["config"]["database"]["credentials"]
    message["config"]["storage"]["credentials"] = STORAGE
    assert read(message).cargo.access[uri].access_key == "STORE"
