from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from agent.adapters.files import FileRecords
from agent.adapters.s3 import S3Records
from agent.ports import RecordStore

from tests.fakes import FakeClock, FakeRecords
from tests.servers import Minio


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A folder with an own CA (ca.pem), and a server certificate of it as MinIO wants it."""
    openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=Lab CA"),
        *("-keyout", f"{tmp_path}/ca.key", "-out", f"{tmp_path}/ca.pem"),
    )
    certs = tmp_path / "certs"
    certs.mkdir()
    openssl(
        *("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=minio", "-keyout", f"{certs}/private.key"),
        *("-out", f"{tmp_path}/minio.csr"),
    )
    (tmp_path / "names").write_text("subjectAltName=IP:127.0.0.1")
    openssl(
        *("x509", "-req", "-in", f"{tmp_path}/minio.csr", "-CA", f"{tmp_path}/ca.pem", "-CAkey", f"{tmp_path}/ca.key"),
        *("-CAcreateserial", "-days", "2", "-extfile", f"{tmp_path}/names", "-out", f"{certs}/public.crt"),
    )
    return tmp_path


@pytest.fixture(params=["fake", "directory", "minio"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> RecordStore:
    """A results store of each kind. A test of more kinds, or of other roots, has a fixture of its own."""
    if request.param == "fake":
        return FakeRecords(FakeClock())
    if request.param == "directory":
        return FileRecords.make(tmp_path / "results")
    minio: Minio = request.getfixturevalue("minio")
    return S3Records(minio.client(), request.getfixturevalue("bucket"), "lab/results")
