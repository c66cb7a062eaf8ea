"""Container images: what their headers say, and a small one made from this host's own files."""
