"""The lab's own authority, and the one certificate that both servers show. Everything is made once and kept.

<lab>/authority/ca.key, ca.pem             the authority; its key never leaves this directory
<lab>/certificates/private.key, public.crt the servers', under the names that MinIO wants
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY, SERVER = timedelta(days=3650), timedelta(days=365)
# What has no more time than this is made anew: whoever looks after a lab sees it this often at least.
EARLY = timedelta(days=60)
# A board's clock may be behind that of this machine.
_SLACK = timedelta(days=1)


class _Pair(NamedTuple):
    """A key and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def authority_file(directory: Path) -> Path:
    """Return where the authority's certificate lies."""
    return directory / "authority/ca.pem"


def server_files(directory: Path) -> tuple[Path, Path]:
    """Return where the servers' certificate and key lie."""
    return directory / "certificates/public.crt", directory / "certificates/private.key"


def ensure(directory: Path, names: Sequence[str], now: datetime) -> None:
    """Make what is missing, near its end, or not for exactly these host names and addresses. Raises OSError.

    A new authority makes a new certificate of the servers.
    """
    key_file, file = directory / "authority/ca.key", authority_file(directory)
    authority = _load(key_file, file)
    if authority is None or _ends_soon(authority.certificate, now):
        authority = _new_authority(now)
        _save(authority, key_file, file)
    file, key_file = server_files(directory)
    server = _load(key_file, file)
    if server is None or not _is_good(server.certificate, authority.certificate, names, now):
        _save(_new_server(authority, names, now), key_file, file)


def valid_until(directory: Path) -> datetime | None:
    """Return when the servers' certificate ends; None where there is none yet."""
    file, key_file = server_files(directory)
    server = _load(key_file, file)
    return None if server is None else server.certificate.not_valid_after_utc


def is_due(directory: Path, names: Sequence[str], now: datetime) -> bool:
    """Say whether `ensure` would make anything."""
    authority = _load(directory / "authority/ca.key", authority_file(directory))
    file, key_file = server_files(directory)
    server = _load(key_file, file)
    if authority is None or server is None or _ends_soon(authority.certificate, now):
        return True
    return not _is_good(server.certificate, authority.certificate, names, now)


def _is_good(certificate: x509.Certificate, by: x509.Certificate, names: Sequence[str], now: datetime) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (InvalidSignature, ValueError):
        return False
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return not _ends_soon(certificate, now) and set(found) == set(map(_name, names))


def _ends_soon(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_after_utc - now < EARLY


def _load(key_file: Path, file: Path) -> _Pair | None:
    """Return what is there; files that were damaged or belong to different pairs count as missing."""
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
        return None
    return _Pair(key, certificate)


def _new_authority(now: datetime) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    # Two labs have authorities of different names: a client that trusts both must not mix them up.
    name = _subject(f"edge-agent lab {x509.random_serial_number():x}"[:32])
    builder = (
        _builder(name, name, key, now - _SLACK, now + AUTHORITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return _Pair(key, builder.sign(key, hashes.SHA256()))


def _new_server(authority: _Pair, names: Sequence[str], now: datetime) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    by, end = authority.certificate, min(now + SERVER, authority.certificate.not_valid_after_utc)
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = (
        _builder(_subject("servers of an edge-agent lab"), by.subject, key, now - _SLACK, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_name(each) for each in names]), critical=False)
        .add_extension(issuer_key, critical=False)
    )
    return _Pair(key, builder.sign(authority.key, hashes.SHA256()))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end)
    return builder.add_extension(identifier, critical=False)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _save(pair: _Pair, key_file: Path, file: Path) -> None:
    """Write both for their owner only; a server that runs goes on with what it has read."""
    key = pair.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(key_file, key)
    write_private(file, pair.certificate.public_bytes(serialization.Encoding.PEM))


def write_private(path: Path, content: bytes) -> None:
    """Replace the file by one with this content that its owner alone may read. Raises OSError."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    new.replace(path)
