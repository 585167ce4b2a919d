"""Choosing a set's threshold and margin from texts that should match and texts that should pass."""
