"""What the adverts of all hosts say together. Pure: adverts in, FleetView out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from agent.model.capabilities import SCHEMA, Capabilities
from agent.ports import Advert

STALE_SECONDS = 150.0  # the state is told each minute: two in a row are missing
UNKNOWN = "unknown"


class HostView(msgspec.Struct, frozen=True):
    """One host. by: the operator who wanted the state. age: seconds since it last told its state, None = nobody knows.

    state: starting, ready, paused, draining, faulty, offline, or unknown when only its capabilities are known.
    stale: it told nothing for a while and did not say goodbye. instances: the agents that speak in its name; more
    than one that is not offline is a host id given twice.
    """

    id: str
    state: str = UNKNOWN
    reason: str | None = None
    by: str | None = None
    age: float | None = None
    stale: bool = False
    version: str | None = None
    lanes: tuple[str, ...] = ()
    free: Mapping[str, Any] = {}
    jobs: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    capabilities: Capabilities | None = None
    digest: str | None = None
    problems: tuple[str, ...] = ()


class FleetView(msgspec.Struct, frozen=True):
    """All hosts, by id."""

    hosts: tuple[HostView, ...] = ()

    @property
    def duplicates(self) -> tuple[HostView, ...]:
        """The hosts whose id several agents use."""
        return tuple(host for host in self.hosts if len(host.instances) > 1)


class _State(msgspec.Struct, frozen=True):
    """A state advert. Later releases may add keys."""

    state: str
    reason: str | None = None
    by: str | None = None
    lanes: tuple[str, ...] = ()
    free: dict[str, Any] = {}
    jobs: tuple[str, ...] = ()
    version: str | None = None
    instance: str | None = None


class _Unreadable(Exception):
    """An advert that is not what it should be."""


def fold(adverts: Iterable[Advert]) -> FleetView:
    """Return the fleet after all adverts, in the order in which they were told."""
    hosts: dict[str, HostView] = {}
    for advert in adverts:
        hosts[advert.host] = seen(hosts.get(advert.host, HostView(advert.host)), advert)
    return FleetView(tuple(_judged(hosts[host]) for host in sorted(hosts)))


def seen(host: HostView, advert: Advert) -> HostView:
    """Return the host after one more advert."""
    try:
        if advert.kind == "capabilities":
            return _with_capabilities(host, advert)
        return _with_state(host, advert)
    except _Unreadable as error:
        return msgspec.structs.replace(host, problems=(*host.problems, f"{advert.kind} cannot be read: {error}"))


def _with_capabilities(host: HostView, advert: Advert) -> HostView:
    profile = _decoded(advert.body, Capabilities)
    if profile.schema != SCHEMA:
        raise _Unreadable(f"schema {profile.schema}, known is {SCHEMA}")
    return msgspec.structs.replace(host, capabilities=profile, digest=profile.digest())


def _with_state(host: HostView, advert: Advert) -> HostView:
    told = _decoded(advert.body, _State)
    others = tuple(each for each in host.instances if each != told.instance)
    speaks = told.instance is not None and told.state != "offline"
    return msgspec.structs.replace(
        host,
        state=told.state,
        reason=told.reason,
        by=told.by,
        age=advert.age,
        version=told.version,
        lanes=told.lanes,
        free=told.free,
        jobs=told.jobs,
        instances=(*others, told.instance) if speaks else others,
    )


def _decoded(body: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _Unreadable(str(error)) from None


def _judged(host: HostView) -> HostView:
    """Add what follows from all adverts together."""
    stale = host.state not in ("offline", UNKNOWN) and host.age is not None and host.age > STALE_SECONDS
    problems = list(host.problems)
    if host.capabilities is not None:
        problems += [f"{each.probe}: {each.message}" for each in host.capabilities.problems]
    if len(host.instances) > 1:
        problems.append(f"several agents use this id: {', '.join(host.instances)}; set another agent.id")
    return msgspec.structs.replace(host, stale=stale, problems=tuple(problems))
