"""The units and the playbook of a lab in deploy/lab."""

from __future__ import annotations

import re
from pathlib import Path

from agent.lab.units import DIRECTORY, units

DEPLOY = Path(__file__).parents[3] / "deploy/lab"


def test_the_units_in_deploy_are_what_the_code_makes() -> None:
    found = {path.name: path.read_text() for path in (DEPLOY / "units").iterdir()}
    assert found == units()


def test_each_unit_runs_as_the_labs_own_user_and_may_gain_no_rights() -> None:
    for text in units().values():
        lines = text.splitlines()
        assert {"User=edge-lab", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "ProtectSystem=strict"} <= set(lines)


def test_no_secret_is_in_a_command_line_of_a_unit() -> None:
    for text in units().values():
        (command,) = re.findall(r"(?m)^ExecStart=(.*)$", text)
        assert not re.search(r"(?i)password|secret", command)
        assert DIRECTORY in command


def test_the_playbook_installs_and_starts_every_unit() -> None:
    text = (DEPLOY / "playbook.yml").read_text()
    (block,) = re.findall(r"(?m)^    lab_units:\n((?:      - .*\n)+)", text)
    assert set(re.findall(r"- (\S+)", block)) == set(units())
    assert f"lab_directory: {DIRECTORY}\n" in text
