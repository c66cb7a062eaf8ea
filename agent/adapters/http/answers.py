"""What a web server's answers mean: one table of HTTP statuses."""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

from agent.adapters.http.transport import RETRIED_STATUSES, Failure
from agent.errors import ArtifactMissing, EdgeAgentError, JobFault


class _Meaning(NamedTuple):
    """What to do about a status, and whether the answer will be the same for everybody at any time."""

    remedy: str
    lasting: bool


_RIGHTS = "this file needs a user or a token that the server knows"
_LATER = "the server is overloaded or starting; the agent tries again"
_METHOD = "the server does not take such requests there; check the address"

MISSING = (404, 410)
DENIED = (401, 403, 407)

# A status that is not here is judged by its first digit: the fault of who asks stays, the server's own passes.
MEANINGS: dict[int, _Meaning] = {
    **dict.fromkeys((405, 411, 415, 501, 505), _Meaning(_METHOD, True)),
    409: _Meaning("the server says that the place is not ready for it; make the directory there", True),
    413: _Meaning("the server takes no file of this size", True),
    **dict.fromkeys((408, 425, 429, 500, 502, 503, 504), _Meaning(_LATER, False)),
    507: _Meaning("free some space on the server, or raise the quota", False),
}
_UNKNOWN = {
    2: _Meaning("that answer promises nothing; use a server with plain GET and PUT", True),
    3: _Meaning("name the address that it points to", True),
    4: _Meaning("check the address", True),
}
_OTHER = _Meaning(_LATER, False)


def refusal(what: str, status: int, *, brought: bool) -> EdgeAgentError:
    """Return the error for an answer that is no success.

    brought: the rights on `what` came with the job; else nobody's "no" is final, since the operator may change it.
    """
    if status in MISSING:
        return ArtifactMissing(f"{what}: there is no such file")
    said = f"{what}: HTTP status {status}{_phrase(status)}"
    if status in DENIED:
        return JobFault(f"{said}; {_RIGHTS}") if brought else Failure(f"{said}; {_RIGHTS}", status, transient=False)
    remedy, lasting = MEANINGS.get(status) or _UNKNOWN.get(status // 100, _OTHER)
    if lasting:
        return JobFault(f"{said}; {remedy}")
    return Failure(f"{said}; {remedy}", status, transient=status in RETRIED_STATUSES)


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""
