"""What must be forgotten, and how near a text is to it."""
