"""What commands share: the configuration, loaded once and only when a command asks for it."""

from __future__ import annotations

import os

import click

from agent.config import Loaded, load_config


def config_from(ctx: click.Context) -> Loaded:
    """Return the configuration for this call of the command. Raises ConfigError."""
    loaded: Loaded | None = ctx.meta.get("agent.loaded")
    if loaded is None:
        loaded = load_config(ctx.meta.get("agent.config-file"), os.environ, ctx.meta.get("agent.flags", {}))
        ctx.meta["agent.loaded"] = loaded
    return loaded
