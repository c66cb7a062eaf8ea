"""What a job brings along besides its native form: rights of its own, and how other wire forms want things done.

Native jobs bring nothing. It stays on this host: the journal keeps it, no record and no advert has it.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

from agent.model.job import Job

Compression = Literal["none", "gzip", "bzip2", "xz"]


class Access(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rights on one artifact, in place of the agent's own ones; empty = anonymous.

    A pair of keys (S3), a user with a password (HTTP basic), or a bearer token (HTTP).
    """

    access_key: str | None = None
    secret_key: str | None = None
    session_token: str | None = None
    region: str | None = None
    user: str | None = None
    password: str | None = None
    token: str | None = None

    def __repr__(self) -> str:
        """Secrets never reach a log."""
        return "Access(...)"


class Venv(msgspec.Struct, frozen=True, omit_defaults=True):
    """A Python virtual environment in place of an image; such a job's image is the URI VENV_IMAGE.

    python: the version wanted ("3.11", "3", "" = any). requirements are installed together, then `extra` in one more
    run, both as lines of a requirements file.
    """

    python: str = ""
    requirements: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()


VENV_IMAGE = "venv://python"


class Cargo(msgspec.Struct, frozen=True, omit_defaults=True):
    """What goes with one job.

    access: rights by the URI of an input, an output or the image. optional: paths of inputs that may be missing, their
    directory is empty then. kept: paths of inputs whose content never changes under its URI, so that a copy may be
    kept. directories: paths that are there from the start. direct: outputs, by path, that are stored at their `uri`
    alone, as an archive compressed like this. log: the direct output whose archive begins with what the job printed, as
    a member of that name ("a/output" = the member output of the archive of a). homes: variables that get the job's home
    directory as the job sees it. form: the wire form it came in, for people. origin: what the observers of this form
    need; nobody else reads it.
    """

    access: dict[str, Access] = {}
    optional: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    direct: dict[str, Compression] = {}
    log: str | None = None
    homes: tuple[str, ...] = ()
    venv: Venv | None = None
    form: str = "native"
    origin: dict[str, Any] = {}


NOTHING = Cargo()


class Decoded(NamedTuple):
    """What a message is: the job, what it brings along, and when it expires (seconds since the epoch, None = never).

    signer: who signed it, None for an unsigned native job and for other forms.
    """

    job: Job
    cargo: Cargo = NOTHING
    expires_at: float | None = None
    signer: str | None = None
