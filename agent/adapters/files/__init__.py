"""Records and artifacts in directories: on a local disk, or on a share that several hosts mount."""

from __future__ import annotations

from agent.adapters.files.artifacts import FileArtifacts
from agent.adapters.files.records import FileRecords

__all__ = ["FileArtifacts", "FileRecords"]
