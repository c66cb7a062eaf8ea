"""Moving bytes: streams with a digest, trees as tar archives, unpacking that stays inside its directory."""
