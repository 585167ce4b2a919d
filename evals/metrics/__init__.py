"""Metrics of unlearning, each in a module of its own: pure functions of texts, log-probabilities and scores."""
