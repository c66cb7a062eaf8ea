"""The agent's data: frozen, without I/O and without a clock."""
