"""Detection: which share of a set of texts the gate flags."""
