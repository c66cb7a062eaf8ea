"""What a job asks for that the operator must have allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from agent.matching.check import Case, Check, met, never, source
from agent.matching.resources import show_cores
from agent.model.units import show_duration, show_size
from agent.model.verdict import Reason


def check_policy(case: Case) -> Iterable[Check]:
    yield from _check_secrets(case)
    yield from _check_network(case)
    yield from _check_timeout(case)
    yield from _check_most(case)
    yield from _check_uris(case)


def _check_secrets(case: Case) -> Iterable[Check]:
    for name in case.job.secrets:
        if name in case.policy.secrets:
            yield met(Reason.SECRET, f"secret {name}", "offered")
        else:
            yield never(Reason.SECRET, f"secret {name}", "not offered", f"offer it: [policy.secrets] {name}")


def _check_network(case: Case) -> Iterable[Check]:
    if case.job.network == "host" and case.policy.network_host:
        yield met(Reason.NETWORK, "the host's network", "allowed")
    elif case.job.network == "host":
        yield never(Reason.NETWORK, "the host's network", "not allowed", "allow it: [policy] network_host = true")


def _check_timeout(case: Case) -> Iterable[Check]:
    most, asked = case.policy.max_timeout, case.job.timeout
    if most is None:
        return
    wanted = "no time limit" if asked is None else f"up to {show_duration(asked)}"
    found = f"at most {show_duration(most)}"
    if asked is None or asked > most:
        remedy = f'set timeout = "{most:g}s" or less, or raise [policy] max_timeout'
        yield never(Reason.TIMEOUT, wanted, found, remedy)
    else:
        yield met(Reason.TIMEOUT, wanted, found)


def _check_most(case: Case) -> Iterable[Check]:
    asked, policy = case.job.requires, case.policy
    yield from _at_most(Reason.CPUS, "cpus", asked.cpus, policy.max_cpus, show_cores)
    yield from _at_most(Reason.MEMORY, "memory", asked.memory, policy.max_memory, show_size)
    yield from _at_most(Reason.DISK, "disk", asked.disk, policy.max_disk, show_size)
    yield from _at_most(Reason.GPUS, "gpus", asked.gpus, policy.max_gpus, "{:g} GPU units".format)


def _at_most(
    reason: Reason, key: str, asked: float, most: float | None, show: Callable[[float], str]
) -> Iterable[Check]:
    if most is None:
        return
    wanted = show(asked) + (f" of {key}" if key in ("memory", "disk") else "")
    found = f"at most {show(most)} a job"
    if asked > most:
        yield never(reason, wanted, found, f"ask for less, or raise [policy] max_{key}")
    else:
        yield met(reason, wanted, found)


def _check_uris(case: Case) -> Iterable[Check]:
    for item in case.job.inputs:
        if case.policy.allows(item.uri, case.policy.input_prefixes):
            yield met(Reason.INPUT_SOURCE, f"input {item.uri}", "allowed")
        else:
            yield source(case, Reason.INPUT_SOURCE, "input", item.uri, "input_prefixes")
    for output in case.job.outputs:
        if output.uri is not None and case.policy.allows(output.uri, case.policy.output_prefixes):
            yield met(Reason.OUTPUT_TARGET, f"output to {output.uri}", "allowed")
        elif output.uri is not None:
            yield source(case, Reason.OUTPUT_TARGET, "output to", output.uri, "output_prefixes")
