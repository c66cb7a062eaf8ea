"""Masks secrets by structure: in argument lists, environments, URLs, headers, nested data and text.

What a value is called decides, not what it looks like; only a few shapes that are always secret (keys,
signed tokens, bearer tokens, users with their passwords) are masked wherever they stand. What is in base64 is judged by
what it says. All that is logged or shown goes through here.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

MASK = "***"

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET_WORDS = frozenset(
    [
        *("password", "passwd", "passphrase", "passcode", "pwd", "secret", "token", "cookie", "auth"),
        *("credential", "credentials", "authorization", "signature", "accesstoken", "authtoken"),
        *("apikey", "accesskey", "secretkey", "privatekey"),
    ]
)
# Two words in a row: "key" and "id" alone are names of artifacts and jobs.
_SECRET_PAIRS = frozenset(
    {
        ("api", "key"),
        ("access", "key"),
        ("secret", "key"),
        ("private", "key"),
        ("signing", "key"),
        ("account", "key"),
    }
    | {("encryption", "key"), ("shared", "key"), ("key", "id"), ("session", "id"), ("jwe", "key")}
)
# Parameters of signed URLs (S3, Google Cloud Storage, Azure, API keys) whose names say nothing elsewhere.
_SECRET_PARAMETERS = frozenset({"key", "sig", "x-amz-credential", "x-goog-credential", "code", "policy", "jwt"})
_SECRET_HEADERS = "authorization|proxy-authorization|cookie|set-cookie|x-api-key|x-auth-token|x-amz-security-token"

_USER = re.compile(r"\b([a-z][a-z0-9+.-]{0,30}://)[^/\s?#\"'<>]*@", re.IGNORECASE)
_PARAMETER = re.compile(r"([?&#;])([\w.~%-]+)=([^&#;\s\"'<>]+)")
_PAIR = re.compile(r"(?<![\w.-])([\w.-]+)(=)(\"(?:\\.|[^\"\\])*\"|'[^']*'|[^\s&;,\"')}\]]+)")
_QUOTED_PAIR = re.compile(
    r"""(["'])([A-Za-z][\w.-]*)(\1\s*:\s*)("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|-?\d[\w.+-]*|\[[^\[\]]*\])"""
)
# JSON inside a JSON text: the quotes have one backslash or more, those inside a value more still.
_ESCAPED_PAIR = re.compile(r'(\\+")([A-Za-z][\w.-]*)(\1\s*:\s*\1)(.*?)(?<!\\)(?=\1)', re.DOTALL)
# A name with a hyphen is a header's; one word before a colon may begin any sentence.
_OTHER_HEADER = re.compile(r"(?<![\w.-])([A-Za-z0-9]+(?:-[A-Za-z0-9]+)+)(\s*:\s*)[^\s\"']+")
_BASIC = re.compile(r"(?i)\b(basic\s+)([A-Za-z0-9+/]{4,}={0,2})(?![\w+/=])")
_BASE64 = re.compile(r"(?<![\w+/-])[A-Za-z0-9+/_-]{16,}={0,2}(?![\w+/=-])")
_BASE64_LEVELS = 3  # base64 inside base64, as in some configurations; whoever wraps more does it to be unreadable
_PASSWORD = re.compile(r"(?i)\b(passw(?:or)?d|passphrase)(\s*:\s*)\S+")
_HEADER = re.compile(rf"(?i)\b({_SECRET_HEADERS})(\s*:\s*)[^\r\n\"']+")
_SHAPES = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_\w{36,}|\bgithub_pat_\w{22,}"
    r"|(?i:(?<=\bbearer ))[\w.~+/=-]{16,}",
    re.DOTALL,
)


def is_secret_name(name: str) -> bool:
    """Say whether a value of this name is a secret: "DB_PASSWORD", "authToken", "X-Api-Key"; not "key"."""
    words = [word.lower() for word in _WORDS.findall(name)]
    return any(word in _SECRET_WORDS for word in words) or any(pair in _SECRET_PAIRS for pair in pairwise(words))


def mask_text(text: str) -> str:
    """Return text with secrets masked: users and signatures of URLs, `name=value`, JSON, headers, tokens, base64."""
    return _masked(text, _BASE64_LEVELS)


def _masked(text: str, levels: int) -> str:
    text = _BASIC.sub(_masked_basic, text)
    if levels:
        text = _BASE64.sub(lambda match: _masked_base64(match[0], levels - 1), text)
    text = _SHAPES.sub(MASK, text)
    text = _USER.sub(rf"\1{MASK}@", text)
    text = _HEADER.sub(rf"\1\2{MASK}", text)
    text = _OTHER_HEADER.sub(_masked_header, text)
    text = _PASSWORD.sub(rf"\1\2{MASK}", text)
    text = _PARAMETER.sub(_masked_parameter, text)
    text = _QUOTED_PAIR.sub(_masked_quoted, text)
    text = _ESCAPED_PAIR.sub(_masked_escaped, text)
    return _PAIR.sub(_masked_pair, text)


def _masked_parameter(match: re.Match[str]) -> str:
    mark, name, value = match.groups()
    secret = name.lower() in _SECRET_PARAMETERS or is_secret_name(name)
    return f"{mark}{name}={MASK if secret else value}"


def _masked_quoted(match: re.Match[str]) -> str:
    quote, name, between, value = match.groups()
    around = value[0] if value[0] in "\"'" else quote
    return f"{quote}{name}{between}{around}{MASK}{around}" if is_secret_name(name) else match[0]


def _masked_escaped(match: re.Match[str]) -> str:
    quote, name, between, _ = match.groups()
    return f"{quote}{name}{between}{MASK}" if is_secret_name(name) else match[0]


def _masked_header(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]}{MASK}" if is_secret_name(match[1]) else match[0]


def _masked_basic(match: re.Match[str]) -> str:
    clear = _from_base64(match[2])
    return f"{match[1]}{MASK}" if clear is not None and ":" in clear else match[0]


def _masked_base64(coded: str, levels: int) -> str:
    """Mask what would be masked in clear; digests and other binary data are no text."""
    clear = _from_base64(coded)
    return coded if clear is None or _masked(clear, levels) == clear else MASK


def _from_base64(coded: str) -> str | None:
    """Return the text that is in base64, of either alphabet and with or without its end; None where it is none."""
    bare = coded.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        clear = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return clear if all(sign.isprintable() or sign.isspace() for sign in clear) else None


def _masked_pair(match: re.Match[str]) -> str:
    return f"{match[1]}={MASK}" if is_secret_name(match[1]) else match[0]


def mask_url(url: str) -> str:
    """Return the URL without user, password, signature and other secret parameters."""
    return mask_text(url)


def mask_argv(argv: Iterable[str]) -> list[str]:
    """Return arguments with secret values masked: `--token X`, `--token=X`, `-e NAME=X`, `-u me:X`."""
    masked: list[str] = []
    previous = ""
    for argument in argv:
        masked.append(_masked_argument(previous, argument))
        previous = argument
    return masked


def _masked_argument(previous: str, argument: str) -> str:
    name, equals, _ = argument.partition("=")
    if previous.startswith("-") and "=" not in previous and is_secret_name(previous):
        return MASK
    if previous in ("-u", "--user") and ":" in argument:
        return f"{argument.partition(':')[0]}:{MASK}"
    if equals and re.fullmatch(r"-{0,2}\w[\w.-]*", name) and is_secret_name(name):
        return f"{name}={MASK}"
    return mask_text(argument)


def mask_env(environment: Mapping[str, str]) -> dict[str, str]:
    """Return variables with the values of secret names masked, and secrets inside other values."""
    return {name: MASK if is_secret_name(name) else mask_text(value) for name, value in environment.items()}


def mask_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return HTTP headers with credentials and cookies masked."""
    return mask_env(headers)


def mask_data(value: Any) -> Any:
    """Return nested data masked; in a table called "secrets" every value, but not a list of their names."""
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, Mapping):
        return {str(name): _mask_member(str(name), member) for name, member in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return mask_argv(value) if _is_argv(value) else [mask_data(member) for member in value]
    return value


def _is_argv(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(member, str) for member in value)


def _mask_member(name: str, member: Any) -> Any:
    if name.lower() == "secrets" and isinstance(member, Mapping):
        return dict.fromkeys(map(str, member), MASK)
    if member is None or isinstance(member, bool) or not is_secret_name(name):
        return mask_data(member)
    return MASK
