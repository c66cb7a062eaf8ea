"""Google Cloud Pub/Sub through the official client: queues, dead letters, and what both consist of.

Importing costs some 45 MiB, so that wiring does it only where a queue is on Pub/Sub.
"""

from __future__ import annotations

import os
import warnings

# Read when gRPC is loaded, which the modules of this package do. The agent never forks without exec; what the C
# library would print about each lost connection, the agent says in its own words.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# On Python 3.10, which distributions go on maintaining, Google's libraries announce at each import that their newer
# releases will want another one. The lock file names those that work here.
warnings.filterwarnings("ignore", message="You are using a non-supported Python version", category=FutureWarning)
