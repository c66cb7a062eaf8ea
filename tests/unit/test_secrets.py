"""Where the values of secrets come from."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from agent.config import load_config
from agent.config.policy import Secret
from agent.errors import HostFault
from agent.wiring.host import secret_reader


def test_secrets_come_from_files_variables_and_credentials(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from file\n")
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/api").write_text("from credential")
    base = load_config(Path("/dev/null"), {}, {}).config
    secrets = {
        "FILE": Secret(file=str(tmp_path / "token")),
        "ENV": Secret(env="SITE_KEY"),
        "CREDENTIAL": Secret(credential="api"),
        "GONE": Secret(credential="gone"),
    }
    config = msgspec.structs.replace(base, policy=msgspec.structs.replace(base.policy, secrets=secrets))
    environ = {"SITE_KEY": "from variable", "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    value = secret_reader(config, environ)
    assert [value(name) for name in ("FILE", "ENV", "CREDENTIAL")] == [
        "from file\n",
        "from variable",
        "from credential",
    ]
    with pytest.raises(HostFault, match=r"secret GONE: .*/credentials/gone: No such file"):
        value("GONE")
    with pytest.raises(HostFault, match="secret ENV: the agent has no variable SITE_KEY"):
        secret_reader(config, {})("ENV")
