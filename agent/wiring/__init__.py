"""The only package that knows both the core and the adapters: one lazy factory per part, and `run_agent`.

What costs memory or time to import is imported where it is made: `probe` and `status` do without.
"""

from __future__ import annotations

from agent.wiring.host import (
    free_disk,
    lanes_of,
    live_host,
    match_policy,
    prepare_state_dir,
    probe,
    record,
    run_trial,
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
    "free_disk",
    "lanes_of",
    "live_host",
    "match_policy",
    "prepare_state_dir",
    "probe",
    "record",
    "run_agent",
    "run_trial",
    "runtime_path",
    "share_of",
]
