"""`prune`: for how long a result must stay, by what its queue promises."""

from __future__ import annotations

from pathlib import Path

import pytest
from agent.cli import cli
from agent.errors import InvalidInput
from click.testing import CliRunner


def prune(tmp_path: Path, url: str, older_than: str) -> BaseException | None:
    """Run the command for a queue that shares its results store with another one; what it raised."""
    file = tmp_path / "config.toml"
    results = f"file://{tmp_path}/results"
    (tmp_path / "results").mkdir()
    queues = (("plain", f"file://{tmp_path}/queue"), ("shared", url))
    tables = [f'[[queues]]\nname = "{name}"\nurl = "{each}"\nresults = "{results}"\n' for name, each in queues]
    file.write_text("\n".join((f'[agent]\nstate_dir = "{tmp_path}/state"\n', *tables)))
    words = ("prune", "--older-than", older_than, "--queue", "plain")
    return CliRunner().invoke(cli, ["--config", str(file), *words]).exception


def test_a_message_on_pubsub_may_come_again_for_31_days(tmp_path: Path) -> None:
    error = prune(tmp_path, "pubsub://project/topic", "31d")
    assert isinstance(error, InvalidInput)
    assert 'for queue "shared": Pub/Sub keeps messages for 31 days' in str(error)
    assert error.hint == "at least 32d"


@pytest.mark.parametrize("text", ["soon", "30", "-1d"])
def test_a_time_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    error = prune(tmp_path, f"file://{tmp_path}/other", text)
    assert isinstance(error, InvalidInput)
    assert error.source == "--older-than"
