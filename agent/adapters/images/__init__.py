"""Images from wherever they lie: files of this host, artifact stores, registries."""

from __future__ import annotations

from agent.adapters.images.file import FileImages
from agent.adapters.images.remote import RemoteImages
from agent.adapters.images.router import ImageRouter

__all__ = ["FileImages", "ImageRouter", "RemoteImages"]
