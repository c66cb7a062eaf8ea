"""All hosts, as their adverts tell."""

from __future__ import annotations
