"""Records and artifacts in S3: MinIO, Ceph, AWS and what else speaks its protocol. Imports minio, so import it late."""

from __future__ import annotations

from agent.adapters.s3.artifacts import S3Artifacts
from agent.adapters.s3.client import S3Client, connect
from agent.adapters.s3.records import S3Records
from agent.adapters.s3.stores import S3Stores

__all__ = ["S3Artifacts", "S3Client", "S3Records", "S3Stores", "connect"]
