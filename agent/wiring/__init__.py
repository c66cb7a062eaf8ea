"""The only package that knows both the core and the adapters: one lazy factory per part, and `run_agent`.

What costs memory or time to import is imported where it is made: `probe` and `status` do without.
"""

from __future__ import annotations

from agent.wiring.host import (
    build_canary_image,
    free_disk,
    live_host,
    match_policy,
    prepare_state_dir,
    probe,
    record,
    runtime_path,
    share_of,
)
from agent.wiring.parts import Parts, run_agent
from agent.wiring.stores import Stores, advert_source, broker_of

__all__ = [
    "Parts",
    "Stores",
    "advert_source",
    "broker_of",
    "build_canary_image",
    "free_disk",
    "live_host",
    "match_policy",
    "prepare_state_dir",
    "probe",
    "record",
    "run_agent",
    "runtime_path",
    "share_of",
]
