"""Every error the agent raises on purpose.

    EdgeAgentError                  exit 1
    ├── InvalidInput                exit 2   something a person or a message gave is wrong; it will stay wrong
    │   ├── ConfigError                      a configuration file, variable or flag
    │   └── JobError                         a job file or a queued job
    │       └── Dropped                      a message whose form wants it off the queue, and no dead letter of it
    ├── Unavailable                 exit 3   a needed part is missing or does not answer; trying again may help
    │   ├── StoreUnavailable                 records or artifacts cannot be read or written
    │   ├── BrokerUnavailable                the MQTT broker cannot be reached
    │   │   └── BrokerRefused                it answers, and lets us in or allows a topic only after a change
    │   ├── RuntimeUnavailable               the container runtime or the holder of the jobs
    │   └── AgentUnreachable                 no running agent answers on the control socket
    ├── NotFound                    exit 1   a job, a log, a result that was asked for does not exist
    ├── JobFault                    exit 1   the job cannot work as it was written, on any host
    │   ├── ArtifactMissing                  an input that does not exist
    │   ├── ArtifactMismatch                 content whose digest is not the one that was promised
    │   ├── OutputTooLarge                   an output that shows far more bytes than the disk that the job has
    │   └── UnsafeArchive                    an archive member that would leave its directory
    └── HostFault                   exit 1   this host failed the job; another host may do better
        └── DiskFull                         it had no room; nothing is wrong with it or the job otherwise

`recoverable` says whether the same call may succeed later without anybody changing its input.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 3


class EdgeAgentError(Exception):
    """The root of the tree. The message is one sentence for people, without secrets."""

    exit_code = EXIT_FAILED
    recoverable = False


class InvalidInput(EdgeAgentError):
    """Wrong input: names the thing, its value, where it came from and what would be right."""

    exit_code = EXIT_USAGE

    def __init__(self, what: str, *, source: str = "", hint: str = "") -> None:
        self.what = what
        self.source = source
        self.hint = hint
        super().__init__("".join((f"{source}: " if source else "", what, f" ({hint})" if hint else "")))

    def from_source(self, source: str) -> InvalidInput:
        """Return the same error with the place it came from (file, line, variable) put in front."""
        return type(self)(self.what, source=source, hint=self.hint)


class ConfigError(InvalidInput):
    """A configuration value that cannot be used; the agent does not start with it."""


class JobError(InvalidInput):
    """A job that cannot be understood or breaks a rule of the job format; it never runs."""


class Dropped(JobError):
    """A message that never runs and becomes no dead letter: its senders look at another place for its end.

    about: the Cargo of a message that said who it is before it turned out to be wrong, so that its sender can be told.
    """

    about: object | None = None


class Unavailable(EdgeAgentError):
    """A part the agent needs is missing or unreachable; says what, and how to get it."""

    exit_code = EXIT_UNAVAILABLE
    recoverable = True


class StoreUnavailable(Unavailable):
    """A record or artifact store cannot be read or written right now (gone, full, read-only)."""


class BrokerUnavailable(Unavailable):
    """The MQTT broker does not answer right now, or the connection to it was lost."""


class BrokerRefused(BrokerUnavailable):
    """The MQTT broker, or TLS on the way to it, says no: it helps to change a setting, not to try again soon."""


class RuntimeUnavailable(Unavailable):
    """No usable container runtime, or its holder process cannot be started."""


class AgentUnreachable(Unavailable):
    """No agent answers on the control socket of this state directory."""


class NotFound(EdgeAgentError):
    """Something that was asked for by name does not exist."""


class JobFault(EdgeAgentError):
    """The job is at fault: no host could run it as it is written."""


class ArtifactMissing(JobFault):
    """An input or image that the job names does not exist in its store."""


class ArtifactMismatch(JobFault):
    """Content that was fetched does not have the digest that the job promised."""


class OutputTooLarge(JobFault):
    """An output of more bytes than the job's disk can hold: sparse files, or links that multiply one."""


class UnsafeArchive(JobFault):
    """An archive with a member that would be written outside its directory, or a device node."""


class HostFault(EdgeAgentError):
    """This host could not do its part (runtime set-up failed, disk full); the job is given back."""

    recoverable = True


class DiskFull(HostFault):
    """The disk of this host had no room for what the agent or a job's files need."""


def disk_fault(error: OSError, what: str) -> HostFault:
    """Return the error about a file of this host that cannot be written: `what` is the sentence."""
    return (DiskFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else HostFault)(what)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `did you mean "x"?` for the known name closest to `name`, or the list of known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return "known: " + ", ".join(names) if names else ""
