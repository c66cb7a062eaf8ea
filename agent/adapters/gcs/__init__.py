"""Artifacts in Google Cloud Storage through the official client.

Importing this package costs nothing. The library costs some 36 MiB, 4 MiB where Pub/Sub is used as well, and is
imported when the first object is used.
"""

from __future__ import annotations

import os

from agent.adapters.gcs.artifacts import GcsArtifacts
from agent.adapters.gcs.connector import connector, without_farewells

__all__ = ["GcsArtifacts", "connector"]

without_farewells()

# Read when gRPC is loaded, which the library does without using it: see agent.adapters.pubsub.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# For traces that nobody collects the library would ask, in a thread of its own, what each bucket is; few accounts may.
os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
