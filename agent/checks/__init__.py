"""What must be right for this host to do its work: `doctor` runs all checks, each saying what to do when it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from agent.checks import hardware, host, servers
from agent.checks.finding import Bench, Finding, failed
from agent.errors import EdgeAgentError

CHECKS: tuple[tuple[str, Callable[[Bench], Iterator[Finding]]], ...] = (
    ("state-dir", host.check_state_dir),
    ("disk", host.check_disk),
    ("runtime", host.check_runtime),
    ("user-namespaces", host.check_user_namespaces),
    ("fuse", host.check_fuse),
    ("limits", host.check_limits),
    ("container", host.check_container),
    ("agent", host.check_agent),
    ("gpu", hardware.check_gpus),
    ("jetson", hardware.check_jetson),
    ("emulation", hardware.check_emulation),
    ("throttling", hardware.check_throttling),
    ("queue", servers.check_queues),
    ("results", servers.check_results),
    ("artifacts", servers.check_artifacts),
    ("broker", servers.check_broker),
    ("clock", servers.check_clocks),
)

__all__ = ["CHECKS", "Bench", "Finding", "examine"]


def examine(bench: Bench) -> Iterator[Finding]:
    """Yield what each check finds, as soon as it is found; a check that raises has failed, the others go on."""
    for name, check in CHECKS:
        try:
            yield from check(bench)
        except EdgeAgentError as error:
            yield failed(name, str(error))
