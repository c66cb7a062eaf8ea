"""The experiment in a clear request: the native job that does what it asks for, and the cargo that goes with it.

The layout of its directories, as its client's library looks for them (HASH is of the key, N the attempt):

    experiments/HASH.N/workspace/       the working directory
    experiments/HASH.N/TAG/             one for each artifact; output/output is what the job prints
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from agent.errors import Dropped
from agent.model.cargo import VENV_IMAGE, Access, Cargo, Decoded, Venv
from agent.model.job import parse_job
from agent.studioml import arguments, artifacts, environment, packages
from agent.studioml.artifacts import IMAGE, OUTPUT, RESULTS, STATUS, WORKSPACE, Artifact
from agent.studioml.credentials import Rights
from agent.studioml.database import Reachable, database_of
from agent.studioml.durations import limit
from agent.studioml.fields import Fields
from agent.studioml.origin import FORM, Origin
from agent.studioml.places import servers_of
from agent.studioml.reading import Reading
from agent.studioml.resources import requirements

LONGEST_RUN = 96 * 3600.0  # seconds that one attempt may take, whatever its client wants
_LONGEST_KEY = 500  # bytes
_LONGEST_NAME = 60  # characters
_NO_TIME = 10.0  # seconds since the epoch; a client that knows the time sends more


class Request(NamedTuple):
    """A request that says who it is. sealed: it came in an envelope."""

    key: str
    experiment: Fields
    config: Fields
    reading: Reading
    sealed: bool

    @property
    def directory(self) -> str:
        """The name of the experiment's directory in this attempt; nobody can choose it."""
        return f"{hashlib.sha256(self.key.encode()).hexdigest()[:16]}.{self.reading.attempt}"


def request_of(table: Mapping[str, Any], reading: Reading, sealed: bool) -> Request:
    """Return the request that a JSON object is. Raises Dropped where it does not say which experiment it is about."""
    top = Fields("", table)
    experiment = top.table("experiment")
    if experiment is None:
        raise top.wrong("experiment", "the object with the experiment")
    key = experiment.text("key")
    if key is None or not 0 < len(key.encode()) <= _LONGEST_KEY:
        raise experiment.wrong("key", f"the name of the experiment, at most {_LONGEST_KEY} bytes")
    return Request(key, experiment, top.table_if_any("config"), reading, sealed)


def about(request: Request) -> Cargo:
    """Return what is needed to tell the sender of a request that does not run why."""
    try:
        variables = environment.of_client(request.config, request.reading.rules.environment)
    except Dropped:
        variables = {}
    reachable = database_of(request.config, servers_of(request.config), _rights(request, variables))
    return Cargo(access=dict(reachable.access), form=FORM, origin=msgspec.to_builtins(_origin(request, reachable)))


def decoded(request: Request) -> Decoded:
    """Return the job of a request, with its cargo. Raises JobError for whatever cannot run."""
    config = request.config
    variables = environment.of_client(config, request.reading.rules.environment)
    servers, rights = servers_of(config), _rights(request, variables)
    reader = artifacts.Reader(servers, rights, artifacts.workspace_pause(config))
    found = reader.read(request.experiment.table("artifacts") or Fields("experiment.artifacts", {}))
    if WORKSPACE not in found and IMAGE not in found:
        hint = f'an artifact "{WORKSPACE}" with the code or "{IMAGE}" with an image, and where it is'
        raise Dropped("experiment.artifacts has nothing to run", hint=hint)
    expires_at = _expires_at(request)
    job = parse_job(_table(request, found, variables, expires_at))
    reachable = database_of(config, servers, rights)
    return Decoded(job, _cargo(request, found, reachable, job.requires.gpus > 0), expires_at)


def _rights(request: Request, variables: Mapping[str, str]) -> Rights:
    return Rights(request.config, variables, request.reading.rules.agent_access)


def _table(
    request: Request, found: Mapping[str, Artifact], variables: Mapping[str, str], expires_at: float | None
) -> dict[str, Any]:
    """Return the job in its native form."""
    experiment, rules = request.experiment, request.reading.rules
    requires = _requirements(request)
    env = environment.of_job(variables, request.directory, requires, in_image=IMAGE in found)
    command = _command(experiment, found.get(IMAGE))
    arguments.check_length(command or (), env)
    home = f"experiments/{request.directory}"
    project = experiment["project"]
    return {
        "image": VENV_IMAGE if IMAGE not in found else found[IMAGE].uri,
        "name": _name(request.key),
        "labels": {"project": project} if isinstance(project, str) and project else {},
        "env": env,
        "workdir": f"{home}/{WORKSPACE}",
        "requires": requires,
        "inputs": artifacts.inputs(found, home),
        "outputs": artifacts.outputs(found, home),
        "network": rules.network,
        "timeout": _timeout(request, expires_at),
        "retries": rules.retries,
        **({"command": command} if command else {}),
    }


def _requirements(request: Request) -> dict[str, Any]:
    needed = request.experiment.table("resources_needed")
    if needed is None or not list(needed):
        raise request.experiment.wrong("resources_needed", 'an object such as {"cpus": 1, "ram": "2g", "hdd": "3g"}')
    return requirements(needed, request.reading.gpus)


def _command(experiment: Fields, image: Artifact | None) -> tuple[str, ...] | None:
    """Return what is run; None = what the image runs by itself, without arguments."""
    if image is None:
        return arguments.command(experiment, "python")
    if experiment.text("filename") is None:
        return None
    return arguments.command(experiment, packages.interpreter(packages.version(experiment)))


def _name(key: str) -> str:
    """Return a name for people and lists, made of the key."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", key).strip("-.")[:_LONGEST_NAME] or "experiment"


def _expires_at(request: Request) -> float | None:
    """Return when the lifetime of the experiment is over, counted from when it was submitted."""
    lifetime = limit(request.config, "experimentLifetime")
    added = request.experiment.number("time_added") or 0.0
    return None if lifetime is None or added <= _NO_TIME else added + lifetime


def _timeout(request: Request, expires_at: float | None) -> float:
    limits = [LONGEST_RUN, limit(request.experiment, "max_duration")]
    if expires_at is not None and request.reading.now is not None:
        limits.append(max(0.0, expires_at - request.reading.now))
    return min(each for each in limits if each is not None)


def _cargo(request: Request, found: Mapping[str, Artifact], reachable: Reachable, wants_gpus: bool) -> Cargo:
    home = f"experiments/{request.directory}"
    direct = artifacts.direct(found, home)
    log = f"{home}/{OUTPUT}"
    access: dict[str, Access] = {**reachable.access, **artifacts.access(found)}
    return Cargo(
        access=access,
        optional=artifacts.optional(found, home),
        kept=artifacts.kept(found, home),
        directories=artifacts.directories(found, home),
        direct=direct,
        log=f"{log}/{OUTPUT}" if log in direct else None,
        homes=(environment.HOME,),
        venv=_venv(request, wants_gpus) if IMAGE not in found else None,
        form=FORM,
        origin=msgspec.to_builtins(_origin(request, reachable, found)),
    )


def _venv(request: Request, wants_gpus: bool) -> Venv:
    return packages.venv(request.experiment, request.config, wants_gpus)


def _origin(request: Request, reachable: Reachable, found: Mapping[str, Artifact] | None = None) -> Origin:
    known = found or {}
    project = request.experiment["project"]
    pauses = [each.pause for each in artifacts.uploaded(known) if each.pause is not None]
    return Origin(
        experiment=request.key,
        project=project if isinstance(project, str) else None,
        queue=request.reading.queue,
        database=reachable.database,
        artifacts=artifacts.tagged(known, f"experiments/{request.directory}"),
        status_uri=artifacts.uri_of(known, STATUS),
        results_uri=artifacts.uri_of(known, RESULTS),
        metadata_uri=artifacts.metadata_uri(known),
        sealed=request.sealed,
        checkpoint_every=min(pauses, default=None),
    )
