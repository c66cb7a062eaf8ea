"""Every answer of gRPC has its sentence, and lanes that suffer the same say the same."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import agent.adapters.pubsub
import grpc
import pytest
from agent.adapters.pubsub.connection import Connection
from agent.adapters.pubsub.errors import REMEDIES, translated, unavailable
from agent.errors import Unavailable


def test_the_table_has_every_code_but_ok() -> None:
    assert set(REMEDIES) == set(grpc.StatusCode) - {grpc.StatusCode.OK}
    assert all(meaning and remedy for meaning, remedy in REMEDIES.values())


def test_an_error_names_what_it_is_about_and_the_remedy() -> None:
    error = unavailable(grpc.StatusCode.NOT_FOUND, "subscription jobs.any-none in project lab", "server:443")
    expected = "subscription jobs.any-none in project lab: does not exist; make it with `edge-agent queue init`"
    assert str(error) == expected


def test_a_server_that_is_away_is_one_sentence_for_all_lanes() -> None:
    codes = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED)
    for code in codes:
        assert len({str(unavailable(code, lane, "server:443")) for lane in ("a", "b")}) == 1


class _Error(grpc.RpcError):  # type: ignore[misc]
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.PERMISSION_DENIED


def test_foreign_errors_become_the_agents() -> None:
    with pytest.raises(Unavailable, match=r"topic x: permission denied; grant .*roles/pubsub"):  # noqa: SIM117
        with translated("topic x", "server:443"):
            raise _Error


def test_missing_credentials_are_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
    connection = Connection(credentials_file=str(tmp_path / "nothing.json"))
    with pytest.raises(Unavailable, match=r"no Google credentials .*nothing\.json.*pubsub\.credentials_file"):
        connection.pull("projects/lab-1/subscriptions/jobs", 1)


def test_grpc_is_told_before_it_is_loaded_that_nobody_forks() -> None:
    assert agent.adapters.pubsub.__doc__
    assert os.environ["GRPC_ENABLE_FORK_SUPPORT"] == "0"


def test_the_client_library_never_waits_in_order_to_log() -> None:
    assert not logging.getLogger("google.pubsub_v1").isEnabledFor(logging.DEBUG)
