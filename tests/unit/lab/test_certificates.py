"""The lab's authority and the servers' certificate: made once, renewed in time, and good for exactly its names."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from agent.lab.certificates import EARLY, SERVER, authority_file, ensure, is_due, server_files, valid_until
from cryptography import x509

NOW = datetime(2026, 5, 1, tzinfo=timezone.utc)
NAMES = ("127.0.0.1", "localhost")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with certificates of the day NOW."""
    for name in ("authority", "certificates"):
        (tmp_path / name).mkdir()
    assert is_due(tmp_path, NAMES, NOW)
    ensure(tmp_path, NAMES, NOW)
    return tmp_path


def texts(place: Path) -> tuple[str, str]:
    return authority_file(place).read_text(), server_files(place)[0].read_text()


def test_what_is_good_stays(place: Path) -> None:
    before = texts(place)
    assert not is_due(place, NAMES, NOW)
    ensure(place, reversed(NAMES), NOW + timedelta(days=1))  # type: ignore[arg-type]
    assert texts(place) == before


def test_the_servers_certificate_is_for_servers_and_names_all_addresses(place: Path) -> None:
    certificate = x509.load_pem_x509_certificate(server_files(place)[0].read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert sorted(str(each.value) for each in names) == ["127.0.0.1", "localhost"]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert certificate.not_valid_before_utc < NOW < certificate.not_valid_after_utc
    authority = x509.load_pem_x509_certificate(authority_file(place).read_bytes())
    certificate.verify_directly_issued_by(authority)
    assert authority.not_valid_after_utc > NOW + timedelta(days=3600)


def test_it_is_renewed_before_it_ends_and_the_authority_stays(place: Path) -> None:
    authority, server = texts(place)
    late = NOW + SERVER - EARLY + timedelta(days=1)
    assert not is_due(place, NAMES, late - timedelta(days=2))
    assert is_due(place, NAMES, late)
    ensure(place, NAMES, late)
    assert texts(place)[0] == authority
    assert texts(place)[1] != server
    assert valid_until(place) == late + SERVER


def test_another_name_needs_another_certificate(place: Path) -> None:
    before = texts(place)
    assert is_due(place, (*NAMES, "lab.local"), NOW)
    ensure(place, (*NAMES, "lab.local"), NOW)
    assert texts(place)[0] == before[0]
    assert texts(place)[1] != before[1]


def test_an_authority_that_ends_is_followed_by_another_one(place: Path) -> None:
    before = texts(place)
    ensure(place, NAMES, NOW + timedelta(days=3600))
    assert not set(before) & set(texts(place))


@pytest.mark.parametrize("name", ["authority/ca.key", "authority/ca.pem", "certificates/public.crt"])
@pytest.mark.parametrize("damage", ["", "no certificate"])
def test_what_was_damaged_is_made_anew(place: Path, name: str, damage: str) -> None:
    (place / name).write_text(damage)
    assert is_due(place, NAMES, NOW)
    ensure(place, NAMES, NOW)
    assert not is_due(place, NAMES, NOW)


def test_keys_are_for_their_owner_only(place: Path) -> None:
    for path in (place / "authority/ca.key", server_files(place)[1]):
        assert path.stat().st_mode & 0o777 == 0o600
