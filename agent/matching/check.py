"""What one match is about, and one requirement beside what the host has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

import msgspec

from agent.matching.uris import is_below, prefix_for
from agent.model.capabilities import Capabilities
from agent.model.job import Job
from agent.model.share import Share
from agent.model.verdict import Reason, Refusal, Standing


class MatchPolicy(msgspec.Struct, frozen=True):
    """What the operator allows. Nothing is allowed by default.

    emulate: architectures that may run through binfmt_misc; secrets: names on offer; *_prefixes: URIs whose
    artifacts jobs may use (whole path segments; none = no URI); brought_prefixes: the same for artifacts on which a
    job has rights of its own, which are `brought`; max_timeout in seconds, max_cpus in cores,
    max_memory and max_disk in bytes, max_gpus in units: the most that one job may ask for, None = any. images_dir: the
    agent's own folder for images, which people are told of.
    """

    emulate: tuple[str, ...] = ()
    secrets: frozenset[str] = frozenset()
    network_host: bool = False
    image_prefixes: tuple[str, ...] = ()
    input_prefixes: tuple[str, ...] = ()
    output_prefixes: tuple[str, ...] = ()
    brought_prefixes: tuple[str, ...] = ()
    max_timeout: float | None = None
    max_cpus: float | None = None
    max_memory: int | None = None
    max_disk: int | None = None
    max_gpus: int | None = None
    images_dir: str | None = None
    brought: frozenset[str] = frozenset()

    def with_rights_on(self, uris: Iterable[str]) -> MatchPolicy:
        """Return the policy for a job that brings rights of its own on these artifacts."""
        return msgspec.structs.replace(self, brought=frozenset(uris))

    def allows(self, uri: str, prefixes: Iterable[str]) -> bool:
        """Say whether the artifact lies below one of the prefixes, or is the job's own and below those for such."""
        return is_below(uri, prefixes) or (uri in self.brought and is_below(uri, self.brought_prefixes))


class FoundImage(Protocol):
    """What matching has to know of an image: ports.ImageFacts has it."""

    @property
    def arch(self) -> str | None:
        """The architecture that the image itself says it is for."""

    @property
    def problem(self) -> str | None:
        """Why the image cannot be run, or None."""


Item = TypeVar("Item")
Images = Mapping[str, FoundImage | None]


class Check(msgspec.Struct, frozen=True):
    """One requirement of a job beside what the host has. required and found as people read them."""

    reason: Reason
    required: str
    found: str
    standing: Standing
    remedy: str = ""

    @property
    def refusal(self) -> Refusal:
        """The same as one of the reasons of a verdict."""
        return Refusal(self.reason, self.required, self.found, self.remedy)


class Case(msgspec.Struct, frozen=True):
    """Everything that one match is about."""

    job: Job
    host: Capabilities
    share: Share
    free: Share
    images: Images
    policy: MatchPolicy


def met(reason: Reason, required: str, found: str) -> Check:
    """Return a requirement that the host meets."""
    return Check(reason, required, found, Standing.ACCEPTED)


def later(reason: Reason, required: str, found: str, remedy: str) -> Check:
    """Return a requirement that the empty host would meet."""
    return Check(reason, required, found, Standing.REFUSED_NOW, remedy)


def never(reason: Reason, required: str, found: str, remedy: str) -> Check:
    """Return a requirement that the host does not meet as it is."""
    return Check(reason, required, found, Standing.REFUSED_HERE, remedy)


def source(case: Case, reason: Reason, what: str, uri: str, key: str) -> Check:
    """Return that a URI lies below no prefix in the list `key` of the configuration, or in that for brought ones."""
    key = "brought_prefixes" if uri in case.policy.brought else key
    return never(reason, f"{what} {uri}", "not allowed on this host", _remedy(case.policy, uri, key))


def _remedy(policy: MatchPolicy, uri: str, key: str) -> str:
    prefix = prefix_for(uri)
    if prefix is None:
        return "write it without '..', encoded slashes and quotes: no prefix covers it as it is"
    line = f'allow a prefix of it: [policy] {key} = ["{prefix}"]'
    own = policy.images_dir
    return f"copy it into {own}/, or {line}" if own is not None and key == "image_prefixes" and _is_file(uri) else line


def _is_file(uri: str) -> bool:
    return is_below(uri, ("file:///",))


def unique(items: Iterable[Item]) -> tuple[Item, ...]:
    """Return the items without repetitions, in their order."""
    return tuple(dict.fromkeys(items))
