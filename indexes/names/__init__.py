"""Names: how they sound, where they stand in a text, and which entries they belong to."""
