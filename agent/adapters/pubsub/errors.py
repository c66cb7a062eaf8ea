"""What gRPC and the credentials say, as the agent's errors: one table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from google.auth.exceptions import GoogleAuthError

from agent.errors import Unavailable

_NETWORK = "check the network, a proxy or firewall on the way, and the name server"
_AGAIN = "it is tried again; if it stays so, see the status page of Google Cloud"
_OURS = "the server refused the form of a request: check the names and limits of this queue in the configuration"
_KEY = "check the key file or account (pubsub.credentials_file, GOOGLE_APPLICATION_CREDENTIALS) and this host's clock"

# code -> (what it means, what would put it right). OK is no error.
REMEDIES = {
    grpc.StatusCode.CANCELLED: ("the call was cancelled", _AGAIN),
    grpc.StatusCode.UNKNOWN: ("the server failed in an unknown way", _AGAIN),
    grpc.StatusCode.INVALID_ARGUMENT: ("not valid", _OURS),
    grpc.StatusCode.DEADLINE_EXCEEDED: ("no answer in time", _NETWORK),
    grpc.StatusCode.NOT_FOUND: ("does not exist", "make it with `edge-agent queue init`"),
    grpc.StatusCode.ALREADY_EXISTS: ("exists already", "run `edge-agent queue init` again to compare it"),
    grpc.StatusCode.PERMISSION_DENIED: (
        "permission denied",
        "grant the agent's account roles/pubsub.subscriber, viewer and publisher there; `queue init` needs"
        " roles/pubsub.editor",
    ),
    grpc.StatusCode.RESOURCE_EXHAUSTED: ("a quota is used up", "raise the quota of the project or wait"),
    grpc.StatusCode.FAILED_PRECONDITION: ("not in a state for that", "run `edge-agent queue init`, which compares it"),
    grpc.StatusCode.ABORTED: ("the server gave the call up", _AGAIN),
    grpc.StatusCode.OUT_OF_RANGE: ("out of range", _OURS),
    grpc.StatusCode.UNIMPLEMENTED: ("the server does not know this call", "check pubsub.endpoint: is it Pub/Sub?"),
    grpc.StatusCode.INTERNAL: ("the server failed", _AGAIN),
    grpc.StatusCode.UNAVAILABLE: ("does not answer", _NETWORK),
    grpc.StatusCode.DATA_LOSS: ("the server lost data", _AGAIN),
    grpc.StatusCode.UNAUTHENTICATED: ("does not accept the credentials", _KEY),
}

# These are about the server as a whole: all lanes say the same sentence, which is logged once.
_OF_THE_SERVER = frozenset(
    {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED}
)


def unavailable(code: grpc.StatusCode, what: str, server: str) -> Unavailable:
    """Return the error to raise for `code`, met when something was done with `what` (a topic, a subscription)."""
    meaning, remedy = REMEDIES[code]
    about = f"Pub/Sub at {server}" if code in _OF_THE_SERVER else what
    return Unavailable(f"{about}: {meaning}; {remedy}")


@contextmanager
def translated(what: str, server: str) -> Iterator[None]:
    """Turn every error of gRPC in the block into Unavailable about `what`."""
    try:
        yield
    except grpc.RpcError as error:
        raise unavailable(error.code(), what, server) from error


@contextmanager
def with_credentials() -> Iterator[None]:
    """Turn every error of finding credentials into Unavailable."""
    try:
        yield
    except (GoogleAuthError, OSError, ValueError) as error:
        raise Unavailable(f"no Google credentials for Pub/Sub: {' '.join(str(error).split())}; {_KEY}") from error
