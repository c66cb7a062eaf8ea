"""The parent of every job's processes: holder (one a host), waiter (one an attempt), the agent's client."""
