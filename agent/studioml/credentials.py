"""Which rights count for which artifact: its own, those of the storage, those among the variables, then none.

s3              credentials.aws; config.storage.credentials on the same server; AWS_* of config.env; anonymous
http, https     credentials.plain or .jwt; those in the URL; anonymous
gs, file        the agent's own
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from agent.errors import Dropped
from agent.model.cargo import Access
from agent.studioml.fields import Fields
from agent.studioml.places import Place, endpoint_host, region_of

ANONYMOUS = Access()
_SECRETS = ("secret_access_key", "secret_key")
_WORD = re.compile(r"[!-~]{1,8192}", re.ASCII)  # fits into a header, and a header into what servers take
_SECRET = re.compile(r"[ -~]{1,8192}", re.ASCII)  # is never sent, only signed with


class Rights:
    """The rights that one message brings."""

    def __init__(self, config: Fields, variables: Mapping[str, str], agent_access: bool) -> None:
        """variables: of the client; agent_access: S3 artifacts without any rights are the agent's to fetch."""
        self._storage = config.table_if_any("storage")
        self._variables = variables
        self._agent_access = agent_access

    def on(self, place: Place, credentials: Fields | None) -> Access | None:
        """Return the rights on an artifact, by its own field `credentials`; None = the agent's. Raises Dropped."""
        if place.kind == "s3":
            return self.on_server(place.server, credentials)
        return _for_http(place, credentials) if place.kind == "http" else None

    def on_server(self, server: str, credentials: Fields | None) -> Access | None:
        """Return the rights on an S3 server; None = the agent's. Raises Dropped."""
        for found in (self._own(credentials), self._of_storage(server), self._of_variables()):
            if found is not None:
                return self._in_region(found, server)
        return None if self._agent_access else ANONYMOUS

    def _own(self, credentials: Fields | None) -> Access | None:
        aws = None if credentials is None else credentials.table("aws", secret=True)
        return None if aws is None else _pair(aws)

    def _of_storage(self, server: str) -> Access | None:
        if endpoint_host(self._storage["endpoint"]) != server:
            return None
        return self._own(self._storage.table("credentials", secret=True))

    def _of_variables(self) -> Access | None:
        key = self._variable("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY")
        secret = self._variable("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY")
        if key is None or secret is None:
            return None
        return Access(access_key=key, secret_key=secret, session_token=self._variable("AWS_SESSION_TOKEN"))

    def _variable(self, *names: str) -> str | None:
        """Return the first value that is one: "$NAME" is what a client sends that had no such variable."""
        values = (self._variables.get(name, "").strip() for name in names)
        return next((value for value in values if _WORD.fullmatch(value) and value[0] not in "$%"), None)

    def _in_region(self, access: Access, server: str) -> Access:
        if access.access_key is None:
            return ANONYMOUS
        region = region_of(server) or access.region or self._variable("AWS_DEFAULT_REGION")
        return Access(access.access_key, access.secret_key, access.session_token, region)


def _pair(aws: Fields) -> Access | None:
    """Return the keys in `credentials.aws`: two empty ones are anonymous; a profile is known to its client only."""
    key = _word(aws, "access_key")
    named = next((name for name in _SECRETS if aws[name]), _SECRETS[0])
    secret = _word(aws, named, _SECRET)
    if (key is None) != (secret is None):
        raise aws.wrong("access_key" if key is None else named, "both keys, or none for public buckets")
    if key is None:
        return None if aws["profile"] else ANONYMOUS
    return Access(key, secret, _word(aws, "session_token"), _word(aws, "region"))


def _for_http(place: Place, credentials: Fields | None) -> Access:
    plain = None if credentials is None else credentials.table("plain", secret=True)
    if plain is not None:
        return Access(user=_printable(plain, "user"), password=_printable(plain, "password"))
    jwt = None if credentials is None else credentials.table("jwt", secret=True)
    if jwt is not None:
        return Access(token=_word(jwt, "token"))
    if place.user is None:
        return ANONYMOUS
    if not f"{place.user}{place.password}".isprintable():
        raise Dropped("a URL with a user or password that cannot be sent", hint="without line breaks")
    return Access(user=place.user, password=place.password)


def _word(fields: Fields, name: str, pattern: re.Pattern[str] = _WORD) -> str | None:
    value = fields.text(name)
    if value is not None and not pattern.fullmatch(value):
        raise fields.wrong(name, "letters, digits and signs only")
    return value


def _printable(fields: Fields, name: str) -> str | None:
    value = fields.text(name)
    if value is not None and not value.isprintable():
        raise fields.wrong(name, "a text without line breaks")
    return value
