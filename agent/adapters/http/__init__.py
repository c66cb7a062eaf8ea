"""Files on web servers, and what all clients that speak HTTP share. Imports urllib3, so import it late."""

from __future__ import annotations

from agent.adapters.http.artifacts import HttpArtifacts

__all__ = ["HttpArtifacts"]
