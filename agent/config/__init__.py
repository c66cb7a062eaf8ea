"""The configuration: defaults < config.toml < conf.d/*.toml < EDGE_AGENT_* variables < flags: one Config.

`sections` says what there is and what is right, `merge` puts layers over each other and remembers where each
value came from, `sources` reads files and variables, `load` does it all.
"""

from __future__ import annotations

from agent.config.load import Loaded, load_config
from agent.config.policy import Secret
from agent.config.sections import Config, Queue

__all__ = ["Config", "Loaded", "Queue", "Secret", "load_config"]
