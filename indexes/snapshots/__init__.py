"""Snapshots: an index in files, so that a server starts in seconds and its processes share one copy."""
