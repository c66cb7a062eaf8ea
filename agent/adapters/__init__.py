"""What meets the outside: one adapter per real system, each behind a port and with its errors translated."""
