"""Credentials that systemd hands to a service: "credential:NAME" in place of a path, wherever a key names a file.

    [Service]
    LoadCredential=mqtt-password:/etc/edge-agent/secrets/mqtt-password

Such a file is for the service alone, and may be encrypted on disk (LoadCredentialEncrypted=).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.errors import InvalidInput
from agent.model.schema import join

PREFIX = "credential:"
DIRECTORY_VARIABLE = "CREDENTIALS_DIRECTORY"
# Where the service has them: a command in a shell is not the service, and says what the service will read.
_OF_THE_SERVICE = "/run/credentials/edge-agent.service"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")


def check_credential(key: str, name: str) -> None:
    """Raise InvalidInput for what is no name of a credential."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(f'{key} = "{name}"', hint="the name of a credential: letters, digits, '.', '_' and '-'")


def credential_path(name: str, environ: Mapping[str, str]) -> Path:
    """Return where the credential lies."""
    return Path(environ.get(DIRECTORY_VARIABLE) or _OF_THE_SERVICE) / name


def with_paths(table: Mapping[str, Any], environ: Mapping[str, str], path: str = "") -> dict[str, Any]:
    """Return the raw configuration with the path of each credential that a key for a file names.

    Raises InvalidInput whose text begins with the key at fault.
    """
    return {key: _with_path(key, value, environ, join(path, key)) for key, value in table.items()}


def _with_path(key: str, value: Any, environ: Mapping[str, str], path: str) -> Any:
    if isinstance(value, Mapping):
        return with_paths(value, environ, path)
    names_file = key == "file" or key.endswith("_file")
    if not (names_file and isinstance(value, str) and value.startswith(PREFIX)):
        return value
    name = value.removeprefix(PREFIX)
    check_credential(path, name)
    return str(credential_path(name, environ))
