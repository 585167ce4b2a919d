"""Output filters: what the model says, checked as it streams."""
