"""Edge agent: runs queued container jobs on edge hosts."""

__version__ = "0.1.0"
