"""What a client may ask: every request field, and what is done with it."""
