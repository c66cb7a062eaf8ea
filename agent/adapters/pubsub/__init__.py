"""Google Cloud Pub/Sub through the official client: queues, dead letters, and what both consist of.

Importing costs some 45 MiB, so that wiring does it only where a queue is on Pub/Sub.
"""

from __future__ import annotations

import os

# Read when gRPC is loaded, which the modules of this package do. The agent never forks without exec; what the C
# library would print about each lost connection, the agent says in its own words.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
